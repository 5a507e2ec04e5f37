"""Print a database of a rows backup of ulasis-backup as SQL, without ulasis-backup.

    export BACKUP_ENCRYPTION_KEY=…   # 64 hexadecimal digits, if there is a key
    python3 read_rows_backup.py FILE.rows.zst.enc.meta.json [DATABASE] > out.sql &&
    mariadb --binary-mode --comments --default-character-set=utf8mb4 NEW_EMPTY_DATABASE < out.sql

Needs `cryptography` (50 for aes-256-gcm), before Python 3.14 `backports.zstd`, and MariaDB 10.11.
Load nothing unless it ended with status 0. docs/format.md says what is read and what SQL loses.
"""
import functools, hashlib, hmac, importlib, io, json, os, pathlib, struct, sys
from cryptography.hazmat.primitives.ciphers import Cipher, aead, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
zstd = importlib.import_module("compression.zstd" if sys.version_info[1] > 13 else "backports.zstd")
HEAD = """SET NAMES utf8mb4; /*M!110200 SET character_set_collations = '' */; SET sql_mode = '',
  foreign_key_checks = 0, check_constraint_checks = 0, innodb_strict_mode = 0,
  system_versioning_alter_history = KEEP, system_versioning_insert_history = 1;
ALTER DATABASE CHARACTER SET {character_set} COLLATE {collation} COMMENT '{text}';\n"""
MODES = "ALLOW_INVALID_DATES,IGNORE_BAD_TABLE_OPTIONS,NO_AUTO_VALUE_ON_ZERO"  # of tables and rows
SEQUENCE = """INSERT INTO {name} SELECT {position}, minimum_value, maximum_value, start_value,
  increment, cache_size, cycle_option, {cycles} FROM {name};\n"""  # takes the place of its only row
mac = functools.partial(hmac.digest, digest="sha256")
quoted = lambda name: b"`%s`" % name.encode("utf-8", "surrogateescape").replace(b"`", b"``")
derive = lambda key, info: mac(mac(bytes(32), key), f"ulasis-backup/1/{info}".encode() + b"\1")
need = lambda condition, message: condition or sys.exit(f"read_rows_backup: {message}")

def read_manifest(path, key):
    """Return the manifest, proven, and the data key."""
    body = json.loads(path.read_bytes())
    keys, _, tag, digest = (body.pop(name, None) for name in ("keys", "keys_mac", "mac", "sha256"))
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = text.encode("utf-8", "surrogatepass")
    need((body["format"], body["method"]) == (1, "rows"), "this is no rows backup of format 1")
    if tag is None:
        need(not key, "it is not signed, but you have a key: somebody may have replaced it")
        need(hashlib.sha256(text).hexdigest() == digest, "the manifest is damaged")
        return body, b""
    wrapped = {entry["recipient"]: bytes.fromhex(entry["wrapped"]) for entry in keys}
    recipient = "aes-256:" + derive(key, "key-id")[:8].hex()
    need(recipient in wrapped, "BACKUP_ENCRYPTION_KEY is not set, or another key")
    secret = aes_key_unwrap(key, wrapped[recipient])
    need(mac(derive(secret, f"{body['id']}/manifest"), text).hex() == tag, "it is not authentic")
    return body, secret

def read_payload(folder, manifest, secret):
    """Return the index. The manifest, which is proven, holds the digest of the stored bytes."""
    data, start = (folder / manifest["payload"]).read_bytes(), manifest["id"] + "/payload"
    need(hashlib.sha256(data).hexdigest() == manifest["stored"]["sha256"], "the payload is damaged")
    if manifest["stages"]["cipher"] == "aes-256-cbc":
        algorithm = algorithms.AES256(derive(secret, f"{start}/encrypt"))
        data = Cipher(algorithm, modes.CBC(data[8:24])).decryptor().update(data[256:-32])
    elif manifest["stages"]["cipher"] == "aes-256-gcm":
        from cryptography.cobblestone import Cobblestone256Decryptor
        stream = Cobblestone256Decryptor(derive(secret, f"{start}/gcm"), data[:256])
        data = stream.update(data[256:]) + stream.finalize()
    return zstd.ZstdDecompressor().decompress(data)  # behind its end is the padding of aes-256-cbc

def read_index(data):
    """Return the records; those of ranges are in the `ranges` of their tables."""
    stream, records = io.BytesIO(data), []
    need(stream.readline() == b"ulasis-backup rows index 1\n", "this is no index of format 1")
    for line in stream:
        record = json.loads(line) | {"ranges": []}
        record["data"] = stream.read(record["blob"] + 1)[:-1] if "blob" in record else None
        (records[-1]["ranges"] if record["record"] == "range" else records).append(record)
    return records

def read_range(folder, begin, part):
    """Return the row packets of a range, proven by their fingerprint."""
    epoch, key = begin["epoch"], bytes.fromhex(begin["epoch_key"])
    data = read_object(folder, epoch, key, part["name"]) if part["name"] else part["data"]
    tag = mac(derive(key, f"{epoch}/fingerprints"), data) if key else hashlib.sha256(data).digest()
    need(tag.hex() == part["fingerprint"], f"object {part['name']} holds other rows")
    return data

def read_object(folder, epoch, key, name):
    """Return the plain bytes of an object, through those that it is a difference to."""
    file = (folder / "objects" / epoch / name[:2] / name).read_bytes()
    body = file[10:]  # what is before it is for those who have no fingerprint
    if key:
        cipher = aead.AESGCM(derive(key, f"{epoch}/objects"))
        body = cipher.decrypt(file[6:18], file[18:], file[:6] + name.encode())
    encoding, _, length = struct.unpack_from("<BQB", body)
    base, data = body[10 : 10 + length].decode(), body[10 + length :]
    prefix = base and zstd.ZstdDict(read_object(folder, epoch, key, base), is_raw=True).as_prefix
    return zstd.decompress(data, prefix or None) if encoding else data

def literal(stream, column):
    """Return the next value of a row as SQL."""
    size, text = stream.read(1)[0], b"NULL"
    if size != 0xFB:
        width = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(size, 0)
        value = stream.read(int.from_bytes(stream.read(width), "little") if width else size)
        form = {"number": b"%s", "moment": b"'%s'", "bytes": b"x'%s'"}[column["literal"]]
        text = form % (value.hex().encode() if column["literal"] == "bytes" else value)
    return column["bind"].encode().replace(b"{}", text)

def inserts(table, packets):
    """Yield the rows as SQL. A row tells where it ends, so the packets can be joined."""
    stream, columns = io.BytesIO(packets), table["columns"]
    heads = iter(lambda: stream.read(4), b"")  # three bytes of length and a serial number
    data = b"".join(stream.read(int.from_bytes(head[:3], "little")) for head in heads)
    names = b", ".join(quoted(column["name"]) for column in columns)
    stream, into = io.BytesIO(data), b"INSERT INTO %s (%s)" % (quoted(table["table"]), names)
    while stream.tell() < len(data):
        lines, end = [], min(stream.tell() + 500_000, len(data))  # a statement of about 1 MB
        while stream.tell() < end:
            lines.append(b"(%s)" % b",".join(literal(stream, one) for one in columns))
        yield b"%s VALUES\n%s;\n" % (into, b",\n".join(lines))

def create(definition, home):
    """Return the statement that makes an object, in the settings that it was first made in."""
    get, extra, text = definition.get, definition["extra"], definition["data"]
    mark = b"$" + hashlib.sha256(text).hexdigest()[:12].encode()  # is not in the text
    return f"""ALTER DATABASE COLLATE {get("database_collation") or home["collation"]};
SET sql_mode = '{MODES if get("kind") == "table" else get("sql_mode")}',
  character_set_client = {get("charset_client") or "utf8mb4"},
  collation_connection = {get("collation_connection") or "utf8mb4_general_ci"},
  timestamp = {extra.get("created", "DEFAULT")}, time_zone = '{get("time_zone") or "+00:00"}';
DELIMITER """.encode() + b"%s\n%s\n%s\nDELIMITER ;\n" % (mark, text, mark)

def statements(mine, folder, begin):
    """Yield all records of a database as SQL."""
    home, definitions = mine[0], [one for one in mine if one["record"] == "definition"]
    tables = {("table", quoted(one["table"])): one for one in mine if one["record"] == "table"}
    views = [one for one in definitions if one["kind"] == "view"]
    named = lambda view: sum(quoted(one["name"]) in view["data"] for one in views)
    yield HEAD.format(**home, text=home["comment"].replace("\\", r"\\").replace("'", "''")).encode()
    for definition in definitions:
        if definition["kind"] == "view":  # which builds on others that the index has behind it
            definition, *views = sorted(views, key=named)
        kind, extra, name = definition["kind"], definition["extra"], quoted(definition["name"])
        yield create(definition, home)
        if kind == "sequence":
            yield SEQUENCE.format(name=name.decode(), **extra).encode()
        for part in tables.get((kind, name), {"ranges": []})["ranges"]:
            yield from inserts(tables[kind, name], read_range(folder, begin, part))
        if "auto_increment" in extra:
            yield b"ALTER TABLE %s AUTO_INCREMENT=%s;\n" % (name, extra["auto_increment"].encode())
    yield f"ALTER DATABASE COLLATE {home['collation']};\n-- complete\n".encode()

if __name__ == "__main__":
    path, key = pathlib.Path(sys.argv[1]), bytes.fromhex(os.getenv("BACKUP_ENCRYPTION_KEY", ""))
    manifest, secret = read_manifest(path, key)
    begin, *records = read_index(read_payload(path.parent, manifest, secret))
    wanted = sys.argv[2:] or manifest["databases"]
    mine = [record for record in records if record.get("database") in wanted]
    need(mine and len(wanted) == 1, f"name one of {manifest['databases']}")
    for part in (part for record in mine for part in record["ranges"]):
        read_range(path.parent, begin, part)  # everything once, before the first line is printed
    sys.stdout.buffer.writelines(statements(mine, path.parent, begin))
