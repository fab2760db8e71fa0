import pytest

from labkit.grading import scoring
from labkit.grading.assignment import Curve, Exercise, Model, Requirement, Written

FIGURES = {"accuracy": 0.9, "bytes": 1000, "sparsity": 0.5, "weight_types": ["float32", "int8"]}


def an_item(**settings):
    return Model(model="m.tflite", points=10.0, **settings)


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        (Requirement("accuracy", at_least=0.9), True),
        (Requirement("accuracy", at_least=0.9001), False),
        (Requirement("bytes", at_most=1000), True),
        (Requirement("bytes", at_most=999), False),
        (Requirement("sparsity", at_least=0.4, at_most=0.45), False),
        (Requirement("weight_types", only=("int8", "float32")), True),
        (Requirement("weight_types", only=("int8",)), False),
        (Requirement("weight_types", includes="int8"), True),
        (Requirement("weight_types", includes="int4"), False),
        (Requirement("coded_bits", at_most=1e9), False),  # not measured
    ],
)
def test_requirements(requirement, holds):
    assert scoring.holds(requirement, FIGURES) is holds
    score = scoring.model(an_item(requires=(requirement,)), FIGURES, "")
    assert score.earned == (10 if holds else 0)
    assert bool(score.reasons) is not holds


def test_a_type_is_included_where_most_is_of_it():
    """One tensor of a type, beside all others, makes no file of that type."""
    figures = FIGURES | {"shares": {"weight_types": {"int8": 0.1, "float32": 0.9}}}
    assert scoring.holds(Requirement("weight_types", includes="float32"), figures)
    wanted = Requirement("weight_types", includes="int8")
    assert not scoring.holds(wanted, figures)
    assert scoring.told(wanted, figures) == (
        "types of the weights: float32, int8, asked for: at least half int8."
    )


@pytest.mark.parametrize(
    ("size", "share"), [(0, 1), (10, 1), (15, 0.75), (20, 0.5), (30, 0.25), (40, 0), (99, 0)]
)
def test_curves_are_straight_between_corners_and_level_outside(size, share):
    curve = Curve("bytes", ((10, 1.0), (20, 0.5), (40, 0.0)))
    assert scoring.share_of(curve, {"bytes": size}) == pytest.approx(share)


def test_partial_credit_says_what_is_missing():
    curve = Curve("accuracy", ((0.5, 0.0), (0.9, 1.0)), hint="train longer")
    score = scoring.model(an_item(curve=curve), {"accuracy": 0.7}, "")
    assert score.earned == 5 and score.hints == ["train longer"]
    assert "70.00 %: 50 % of the points; all of them at 90.00 %" in score.reasons[0]
    sizes = Curve("bytes", ((100, 1.0), (200, 0.0)))
    assert (
        "all of them at 100." in scoring.model(an_item(curve=sizes), {"bytes": 150}, "").reasons[0]
    )


def test_figures_have_the_metrics_unit_and_the_splits_name():
    curve = Curve("average distance error", ((0.5, 1.0), (1.5, 0.0)), hint="train longer")
    figures = {"average distance error": 0.75}
    score = scoring.model(an_item(curve=curve), figures, "", "readings")
    assert score.earned == 7.5
    assert score.reasons == [
        "average distance error on the hidden readings is 0.75 m: 75 % of the "
        "points; all of them at 0.5 m."
    ]
    bound = Requirement("average distance error", at_most=0.7)
    assert not scoring.holds(bound, figures)
    assert "0.75 m, asked for: at most 0.7 m." in scoring.told(bound, figures, "readings")


def test_no_file_and_a_file_that_could_not_be_measured_earn_nothing():
    assert scoring.model(an_item(), None, "it is not there").reasons == ["it is not there"]
    assert scoring.model(an_item(), {"problem": "damaged"}, "").earned == 0


def test_exercises_are_prorated():
    item = Exercise(exercise="01_x/f", cases=("{}",) * 3, points=10.0, hint="look")
    answers = [{"answer": 1}, {"error": "ValueError: no"}, {"answer": 2}]
    score = scoring.exercise(item, answers, {1: "", 2: "off by less than 1 %"}, "")
    assert score.earned == pytest.approx(10 / 3, abs=1e-4)
    assert score.reasons == [
        "case 2 of 3: ValueError",
        "case 3 of 3: off by less than 1 %",
    ]
    assert score.hints == ["look"]


def test_a_hint_is_given_for_a_wrong_answer_alone():
    """Neither for a time-out, nor for a stub, nor for a file that is not there."""
    item = Exercise(exercise="01_x/f", cases=("{}",) * 2, points=10.0, hint="look")
    stub = [{"error": "not filled in yet"}] * 2
    score = scoring.exercise(item, stub, {0: "", 1: ""}, "")
    assert score.hints == [] and "still the stub" in score.reasons[0] and len(score.reasons) == 1
    assert scoring.exercise(item, None, {}, "stopped").hints == []
    for figures in (None, {"problem": "damaged"}):
        assert scoring.model(an_item(), figures, "it is not there").hints == []


def test_words_of_the_runtime_are_not_a_students():
    raw = "failed to create XNNPACK delegateunsupported datatype in Node number 3"
    told = scoring.model(an_item(), {"problem": raw}, "").reasons[0]
    assert "XNNPACK" not in told and "Convert the model again" in told


def test_marks_by_hand():
    item = Written(written="01_x/why", points=10.0)
    assert scoring.by_hand(item, None).earned is None
    assert scoring.by_hand(item, None, empty=True).earned == 0
    assert scoring.by_hand(item, (7.5, "good")).reasons == ["good"]


def test_a_fault_of_the_machine_is_no_zero():
    score = scoring.fault(an_item())
    assert score.earned is None and score.to_dict("p")["status"] == scoring.FAULT
    score = scoring.unread(an_item(), "it is damaged")
    assert score.earned is None and score.to_dict("p")["status"] == scoring.UNREAD


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ValueError: 0.123 456", "ValueError"),
        ("low_is_0_123: x", "an error"),
        ("not filled in yet", "not filled in yet"),
        ("CheckFailed: 0.123", "CheckFailed"),
        ("print: 0.1", "an error"),
        ("", "an error"),
    ],
)
def test_errors_are_told_by_their_kind_alone(text, told):
    assert scoring.kind_of_error(text) == told
