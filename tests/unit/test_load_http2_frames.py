from __future__ import annotations

from itertools import pairwise

from hyperframe.frame import DataFrame, GoAwayFrame, PingFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from hitless.testing.load.http2 import GoawayFilter

frames = st.one_of(
    st.builds(lambda data: DataFrame(stream_id=1, data=data), st.binary(max_size=40)),
    st.just(PingFrame(opaque_data=b"12345678")),
    st.builds(
        lambda last, more: GoAwayFrame(last_stream_id=last, additional_data=more),
        st.integers(0, 2**31 - 1),
        st.binary(max_size=20),
    ),
)


@settings(max_examples=300)
@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 400), max_size=8))
def test_goaways_are_taken_out_and_all_else_passes_wherever_the_bytes_are_cut(
    sent: list[DataFrame | PingFrame | GoAwayFrame], cuts: list[int]
) -> None:
    data = b"".join(frame.serialize() for frame in sent)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    filtered, passed, last_streams = GoawayFilter(), b"", []
    for start, end in pairwise(edges):
        kept, goaways = filtered.split(data[start:end])
        passed += kept
        last_streams += goaways
    assert passed == b"".join(frame.serialize() for frame in sent if not isinstance(frame, GoAwayFrame))
    assert last_streams == [frame.last_stream_id for frame in sent if isinstance(frame, GoAwayFrame)]
