"""The projection: tables that are folded from the journal and can be deleted at any time the server is down."""
