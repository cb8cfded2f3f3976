"""Tasks as Jobs of a cluster: the executor, what it writes there, what it reads there, and the program that works inside of the pod."""
