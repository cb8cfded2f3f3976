"""The pages: what the API answers, drawn for people; server-rendered, readable without JavaScript."""
