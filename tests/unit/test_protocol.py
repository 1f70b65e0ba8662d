"""The wire: frames and versions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import protocol

WORDS = st.text(max_size=20)
FIELDS = st.dictionaries(st.from_regex("[a-z_]{1,8}", fullmatch=True), WORDS | st.integers() | st.none(), max_size=4)


@given(st.sampled_from(sorted(protocol.CLIENT_MESSAGES)), FIELDS)
def test_what_is_encoded_is_decoded(kind: str, extra: dict[str, object]) -> None:
    fields = {**dict.fromkeys(protocol.CLIENT_MESSAGES[kind], 1), **extra}
    fields.pop("type", None)
    text = protocol.encode(kind, **fields)
    assert protocol.decode(text, protocol.CLIENT_MESSAGES) == {"type": kind, **fields}


@given(
    st.text() | st.recursive(st.none() | st.integers() | WORDS, lambda inner: st.lists(inner) | FIELDS).map(json.dumps)
)
def test_whatever_arrives_is_a_message_or_a_protocol_error(text: str) -> None:
    try:
        message = protocol.decode(text, protocol.SERVER_MESSAGES)
    except protocol.ProtocolError as error:
        assert str(error).endswith(".")
    else:
        assert message["type"] in protocol.SERVER_MESSAGES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "without a type"),
        ('{"type": 3}', "without a type"),
        ('{"type": "sing"}', "“sing”"),
        ('{"type": "decompose", "job": "1"}', "lacks picture"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(text: str, words: str) -> None:
    with pytest.raises(protocol.ProtocolError, match=words):
        protocol.decode(text, protocol.CLIENT_MESSAGES)


@pytest.mark.parametrize(
    "length", [0, 1, protocol.CHUNK - 1, protocol.CHUNK, protocol.CHUNK + 1, 2 * protocol.CHUNK + 5]
)
def test_chunks_are_the_data_and_as_many_as_counted(length: int) -> None:
    data = bytes(range(256)) * (length // 256 + 1)
    pieces = list(protocol.chunks(memoryview(data)[:length]))
    assert len(pieces) == protocol.chunk_count(length)
    assert b"".join(pieces) == data[:length]
    assert all(len(piece) <= protocol.CHUNK for piece in pieces)


def test_the_same_version_is_no_problem() -> None:
    assert protocol.version_problem(protocol.VERSION) is None


@pytest.mark.parametrize(
    ("theirs", "older"), [(0, "plugin"), (protocol.VERSION + 1, "bridge"), ("x", "plugin"), (None, "plugin")]
)
def test_another_version_names_the_older_side_and_the_remedy(theirs: object, older: str) -> None:
    problem = protocol.version_problem(theirs)
    assert problem is not None
    assert problem.startswith(f"The {older} is of an older") and "install.py" in problem


def test_every_message_in_the_tables_is_described() -> None:
    for kind in {*protocol.CLIENT_MESSAGES, *protocol.SERVER_MESSAGES}:
        assert f"{kind} {{" in (protocol.__doc__ or ""), kind
