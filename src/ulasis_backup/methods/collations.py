"""Collations of one server and what stands for them on another.

MariaDB itself gives the collations of MySQL 8 (``utf8mb4_0900_ai_ci``) to its own
``utf8mb4_uca1400_nopad_ai_ci`` since 11.4.5; the pairs here are that server's list. Characters
newer than Unicode 9 may compare otherwise: values stay as they are, and where a unique key would
clash the load fails. A collation that pads with spaces never stands for one that does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ulasis_backup.model import Flavour, ServerVersion

LANGUAGES = {
    "cs": "czech", "da": "danish", "de_pb": "german2", "eo": "esperanto", "es": "spanish",
    "es_trad": "spanish2", "et": "estonian", "hr": "croatian", "hu": "hungarian",
    "is": "icelandic", "la": "roman", "lt": "lithuanian", "lv": "latvian", "pl": "polish",
    "ro": "romanian", "sk": "slovak", "sl": "slovenian", "sv": "swedish", "tr": "turkish",
    "vi": "vietnamese",
}  # fmt: skip
LATE = (11, 5, 0)
"""Since this MariaDB a TIMESTAMP goes to 2106, and time ends then in system-versioned tables."""

UNICODE_9 = "characters newer than Unicode 9 may compare otherwise"
_BACK = {long: short for short, long in LANGUAGES.items()}
_NEW = re.compile(r"utf8mb4_(?:(?P<language>[a-z_]+)_)?0900_(?P<rest>ai_ci|as_cs|as_ci)")
_UCA = re.compile(r"utf8mb4_uca1400_(?:(?P<language>[a-z0-9]+)_)?nopad_(?P<rest>ai_ci|as_cs|as_ci)")
_ONLY_MARIADB = re.compile(
    r"_nopad_|_uca1400_|_general1400_|_myanmar_ci\Z|_thai_520_w2\Z|_croatian_mysql561_ci\Z"
)
_ONLY_MYSQL = re.compile(r"\Agb18030_|_0900_|_tolower_ci\Z")

DEFAULTS = {
    "armscii8": "general", "ascii": "general", "big5": "chinese", "cp1250": "general",
    "cp1251": "general", "cp1256": "general", "cp1257": "general", "cp850": "general",
    "cp852": "general", "cp866": "general", "cp932": "japanese", "dec8": "swedish",
    "eucjpms": "japanese", "euckr": "korean", "gb18030": "chinese", "gb2312": "chinese",
    "gbk": "chinese", "geostd8": "general", "greek": "general", "hebrew": "general",
    "hp8": "english", "keybcs2": "general", "koi8r": "general", "koi8u": "general",
    "latin1": "swedish", "latin2": "general", "latin5": "turkish", "latin7": "general",
    "macce": "general", "macroman": "general", "sjis": "japanese", "swe7": "swedish",
    "tis620": "thai", "ucs2": "general", "ujis": "japanese", "utf16": "general",
    "utf16le": "general", "utf32": "general", "utf8": "general", "utf8mb3": "general",
}  # fmt: skip
"""The collation a character set has by default, without ``_ci``; utf8mb4 has several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """From which server to which. ``collations`` says what a person wants to stand for what."""

    source: ServerVersion
    target: ServerVersion
    collations: Mapping[str, str] = field(default_factory=dict)

    @property
    def crosses(self) -> bool:
        """Tell whether the flavours differ."""
        return self.source.flavour is not self.target.flavour

    @property
    def goes_back(self) -> bool:
        """Tell whether the target is an older version of the same flavour."""
        return not self.crosses and self.target.numbers[:2] < self.source.numbers[:2]

    @property
    def changes(self) -> bool:
        """Tell whether anything may have to be changed; if not, definitions are left alone."""
        return self.crosses or self.goes_back or bool(self.collations)

    @property
    def to_mysql(self) -> bool:
        """Tell whether it goes from MariaDB to MySQL."""
        return self.crosses and self.target.flavour is Flavour.MYSQL

    @property
    def to_mariadb(self) -> bool:
        """Tell whether it goes from MySQL to MariaDB."""
        return self.crosses and self.target.flavour is Flavour.MARIADB

    @property
    def loses_times(self) -> bool:
        """Tell whether a TIMESTAMP may be later on the source than on the target."""
        late = self.source.flavour is Flavour.MARIADB and self.source.numbers >= LATE
        late_there = self.target.flavour is Flavour.MARIADB and self.target.numbers >= LATE
        return late and not late_there

    @property
    def there(self) -> str:
        """Return the target for sentences: ``MySQL 9.7``."""
        name = "MariaDB" if self.target.flavour is Flavour.MARIADB else "MySQL"
        major, minor, _ = self.target.numbers
        return f"{name} {major}.{minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterpart:
    """The collation that stands for another; ``differs`` says how, empty if it is the same."""

    name: str
    differs: str = ""


def default_collation(charset: str, source: ServerVersion) -> str:
    """Return the collation that *charset* alone means on *source*, empty if unknown."""
    if charset == "binary":
        return "binary"
    if charset == "utf8mb4":
        new = source.flavour is Flavour.MYSQL and source.numbers >= (8, 0, 0)
        return "utf8mb4_0900_ai_ci" if new else "utf8mb4_general_ci"
    kind = DEFAULTS.get(charset)
    return f"{charset}_{kind}_ci" if kind else ""


def counterpart(collation: str, way: Way) -> Counterpart | None:
    """Return what stands for *collation* on the target, None if nothing does."""
    name = collation.lower()
    if name in way.collations:
        return Counterpart(name=way.collations[name], differs="as was asked for")
    if not way.crosses and not way.goes_back:
        return Counterpart(name=name)
    if way.target.flavour is Flavour.MYSQL:
        return _on_mysql(name, way)
    return _on_mariadb(name, way)


def _on_mysql(name: str, way: Way) -> Counterpart | None:
    if way.crosses:
        if name in ("utf8mb4_nopad_bin", "utf8mb4_0900_bin"):
            return Counterpart(name="utf8mb4_0900_bin")
        if name.endswith("_croatian_mysql561_ci"):
            return Counterpart(name=name.replace("_mysql561", ""))
        if name.endswith("_croatian_ci"):
            return Counterpart(name=name, differs="MySQL orders Croatian by other rules")
    match = _UCA.fullmatch(name)
    language = match["language"] if match else None
    if match and (language is None or language in _BACK):
        short = f"{_BACK[language]}_" if language else ""
        return _new(f"utf8mb4_{short}0900_{match['rest']}", way, differs=True)
    if _NEW.fullmatch(name):
        return _new(name, way, differs=way.crosses)
    return None if _ONLY_MARIADB.search(name) else Counterpart(name=name)


def _new(name: str, way: Way, *, differs: bool) -> Counterpart | None:
    # MySQL has as_ci without a language alone.
    if way.target.numbers < (8, 0, 0) or (name.endswith("_as_ci") and name != "utf8mb4_0900_as_ci"):
        return None
    return Counterpart(name=name, differs=UNICODE_9 if differs else "")


def _on_mariadb(name: str, way: Way) -> Counterpart | None:
    numbers = way.target.numbers
    aliases = (11, 4, 5) <= numbers < (11, 5, 0) or numbers >= (11, 7, 2)
    match = _NEW.fullmatch(name)
    if match and (match["language"] is None or match["language"] in LANGUAGES):
        how = UNICODE_9 if way.crosses else ""
        long = f"{LANGUAGES[match['language']]}_" if match["language"] else ""
        uca = name if aliases else f"utf8mb4_uca1400_{long}nopad_{match['rest']}"
        return Counterpart(name=uca, differs=how) if numbers >= (10, 10, 0) else None
    if name == "utf8mb4_0900_bin":
        return Counterpart(name=name if aliases else "utf8mb4_nopad_bin")
    if way.crosses and name.endswith("_croatian_ci"):
        return Counterpart(name=name.replace("_croatian_ci", "_croatian_mysql561_ci"))
    missing = _ONLY_MYSQL.search(name) or ("_uca1400_" in name and numbers < (10, 10, 0))
    return None if missing else Counterpart(name=name)
