"""The cluster's own refusal: images that no pin names get no pod in an environment's namespace, whoever asks for it."""
