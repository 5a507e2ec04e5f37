"""How backups are made and restored: ``sql`` (text by mysqldump or mariadb-dump)."""
