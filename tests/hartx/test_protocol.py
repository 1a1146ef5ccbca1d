"""Which recordings train and which test."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hartx.errors import HartxError
from hartx.protocol import RecordingId, check_trains, is_test, sides

RECORDINGS = [RecordingId(f"a{a}_s{s}_t{t}", s) for a in range(1, 28) for s in range(1, 9) for t in range(1, 5)]
by_subject = st.one_of(
    st.just("cross_subject"),
    st.sets(st.integers(1, 8), min_size=1, max_size=4).map(lambda out: "loso:" + "+".join(map(str, sorted(out)))),
)
protocols = st.one_of(
    by_subject,
    st.integers(0, 50).map("random80:{}".format),
)


@given(protocols, st.sampled_from([0, 1, 3, 5, 7]))
def test_sides_are_disjoint_and_complete(protocol, validation_subject):
    if protocol.startswith("loso") and str(validation_subject) in protocol:
        return
    found = sides(protocol, RECORDINGS, validation_subject)
    everything = [*found.train, *found.validation, *found.test]
    assert sorted(everything) == list(range(len(RECORDINGS)))


@given(by_subject)
def test_no_subject_is_on_both_sides(protocol):
    found = sides(protocol, RECORDINGS)
    subjects = [{RECORDINGS[i].subject for i in side} for side in (found.train, found.test)]
    assert subjects[0] & subjects[1] == set()


def test_cross_subject_trains_on_odd_subjects():
    found = sides("cross_subject", RECORDINGS)
    assert {RECORDINGS[i].subject for i in found.train} == {1, 3, 5, 7}
    assert {RECORDINGS[i].subject for i in found.test} == {2, 4, 6, 8}


def test_loso_tests_on_the_subject_left_out():
    assert {RECORDINGS[i].subject for i in sides("loso:7", RECORDINGS).test} == {7}
    assert {RECORDINGS[i].subject for i in sides("loso:2+7", RECORDINGS).test} == {2, 7}
    twelve = [*RECORDINGS, RecordingId("a1_s12_t1", 12)]
    assert {twelve[i].subject for i in sides("loso:12", twelve).test} == {12}


def test_random80_depends_on_the_seed_alone():
    first = is_test("random80:1", RECORDINGS)
    shuffled = RECORDINGS[::-1]
    assert is_test("random80:1", shuffled) == first[::-1]
    assert is_test("random80:2", RECORDINGS) != first
    assert sum(first) == len(RECORDINGS) - int(0.8 * len(RECORDINGS))


@given(st.integers(0, 50), st.sets(st.integers(0, len(RECORDINGS) - 1), max_size=40))
def test_streams_that_lack_other_recordings_are_split_alike(seed, lacking):
    """What a stream of a fusion trains on is not what the fusion is tested on."""
    rest = [recording for i, recording in enumerate(RECORDINGS) if i not in lacking]
    tested = dict(zip(RECORDINGS, is_test(f"random80:{seed}", RECORDINGS), strict=True))
    found = sides(f"random80:{seed}", rest, everyone=RECORDINGS)
    assert {rest[i] for i in found.test} == {recording for recording in rest if tested[recording]}


def test_validation_takes_a_training_subject_only():
    found = sides("loso:7", RECORDINGS, validation_subject=5)
    assert {RECORDINGS[i].subject for i in found.validation} == {5}
    with pytest.raises(HartxError, match="validation_subject=7"):
        sides("loso:7", RECORDINGS, validation_subject=7)


@pytest.mark.parametrize("protocol", ["cross_subjekt", "loso", "loso:x", "loso:1+", "loso:1,3", "random80", ""])
def test_an_unknown_protocol_is_refused(protocol):
    with pytest.raises(HartxError, match="loso:K"):
        is_test(protocol, RECORDINGS)


def test_the_nearest_protocol_is_suggested():
    with pytest.raises(HartxError, match="did you mean 'cross_subject'"):
        is_test("crosssubject", RECORDINGS)


@pytest.mark.parametrize("group, usual", [("1+1", "1"), ("01", "1"), ("3+1", "1+3"), ("1+03", "1+3")])
def test_a_fold_is_named_in_one_way_alone(group, usual):
    """By its name its runs are found again."""
    with pytest.raises(HartxError) as refused:
        is_test(f"loso:{group}", RECORDINGS)
    assert str(refused.value) == f"config.protocol='loso:{group}' was given; loso:{usual} is expected"


def test_recordings_of_the_test_side_alone_can_be_tested_and_not_trained_on():
    alone = [r for r in RECORDINGS if r.subject == 7]
    found = sides("loso:7", alone)
    assert (found.train, found.validation, found.test) == ((), (), tuple(range(len(alone))))
    with pytest.raises(HartxError, match=r"loso:7 leaves nothing to train on \(subjects present: \[7\]\)"):
        check_trains("loso:7", found, alone)
    check_trains("loso:7", sides("loso:7", RECORDINGS), RECORDINGS)
