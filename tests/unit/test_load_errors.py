"""What a failed load says: the client's own words, never the rows in the statement it quotes."""

from __future__ import annotations

from ulasis_backup.methods import load
from ulasis_backup.mysql.programs import ProgramFailed


def test_the_statement_that_the_client_quotes_is_left_out() -> None:
    said = "--------------\nINSERT INTO t VALUES ('whisper')\n--------------\n\nERROR 1062 (23000)"
    error = ProgramFailed("x", status=1, said=said + " at line 3: Duplicate entry")
    words = load.without_rows(error)
    assert "whisper" not in words
    assert "ERROR 1062 (23000) at line 3: Duplicate entry" in words
    assert "without a reason" in load.without_rows(ProgramFailed("x", status=2, said=""))
