"""What happens to children when their parent is killed, strategy by strategy: ``python -m demo``."""
