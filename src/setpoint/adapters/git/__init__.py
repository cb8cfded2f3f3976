"""Git: the hosted bare repositories of a home (pygit2), and the smart HTTP endpoint over them (stock git).

Built by app wiring; nothing here decides what a push means.
"""
