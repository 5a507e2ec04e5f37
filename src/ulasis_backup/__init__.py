"""Back up MySQL and MariaDB databases, prove that the backups restore, and restore them."""

__version__ = "0.1.0"
