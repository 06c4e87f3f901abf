"""Laws of the evaluation of attention: where it looks."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioattn_lib.attention.record.density import Density
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.evaluation.attention.faithfulness import (
    ALL_MEASURES,
    MEASURES,
    evaluate,
    event_share,
    mass_inside_events,
    pointing_game,
    random_attention,
    rank_accuracy,
    support_iou,
    swapped_attention,
)

CLOCK = FrameClock(0.1, -0.05)
FUNCTIONS = (pointing_game, mass_inside_events, support_iou, rank_accuracy)


def discrete(*weights: list[float], clock: FrameClock = CLOCK) -> AttentionRecord:
    frames = max(map(len, weights))
    padded = np.zeros((len(weights), 1, frames))
    for i, row in enumerate(weights):
        padded[i, 0, : len(row)] = np.array(row) / np.sum(row)
    return AttentionRecord("some", clock, n_frames=np.array([len(w) for w in weights]), weights=padded)


def parabola(location: float, half_width: float, n_frames: int, clock: FrameClock = CLOCK) -> AttentionRecord:
    unit = np.ones((1, 1))
    density = Density(location * unit, half_width**2 / 5 * unit, 2 * unit, unit)
    return AttentionRecord("parabola", clock, n_frames=np.array([n_frames]), density=density)


def softmax(lengths: list[int], seed: int = 0) -> AttentionRecord:
    generator = np.random.default_rng(seed)
    return discrete(*(np.exp(generator.standard_normal(n)).tolist() for n in lengths))


def sparse(n_frames: int, seed: int) -> AttentionRecord:
    generator = np.random.default_rng(seed)
    weights = generator.random(n_frames) * (generator.random(n_frames) < 0.3)
    weights[generator.integers(n_frames)] += 1
    return discrete(weights.tolist())


def sparse_clips(n: int) -> AttentionRecord:
    return AttentionRecord.concatenate([sparse(20, seed) for seed in range(n)])


spans = st.lists(
    st.tuples(st.floats(-0.3, 1.3), st.floats(0.0, 0.6)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=4
)


def brute_force_times(clip_spans: list[tuple[float, float]], low: float, high: float, n: int = 40_000) -> np.ndarray:
    times = low + (np.arange(n) + 0.5) / n * (high - low)
    return np.any([(times >= a) & (times < b) for a, b in clip_spans] or [np.zeros(n, bool)], axis=0)


class TestUniformAttention:
    @given(st.integers(1, 15), spans)
    def test_scores_the_share_of_events_in_every_measure(self, n: int, events: list[tuple[float, float]]) -> None:
        record = discrete([1.0] * n)
        share = event_share(record, [events])
        for measure in FUNCTIONS:
            np.testing.assert_allclose(measure(record, [events]), share, atol=1e-12)

    @given(st.integers(1, 15), spans)
    def test_the_share_is_that_of_the_clock(self, n: int, events: list[tuple[float, float]]) -> None:
        record = discrete([1.0] * n)
        share = event_share(record, [events])[0]
        inside = brute_force_times(events, *record.span(0)).mean()
        assert share == pytest.approx(inside, abs=2e-4) if not math.isnan(share) else inside < 1e-3

    def test_float32_rounding_is_a_tie(self) -> None:
        weights = np.full((1, 1, 7), 1 / 7, dtype=np.float32)
        weights[0, 0, 2] = np.nextafter(weights[0, 0, 2], np.float32(1))
        record = AttentionRecord("softmax", FrameClock(), n_frames=np.array([7]), weights=weights)
        assert pointing_game(record, [[(0.0, 2.0)]])[0] == pytest.approx(2 / 7)


class TestPointingGame:
    def test_hit_miss_and_border(self) -> None:
        record = discrete([0, 0, 1, 0], clock=FrameClock())
        assert pointing_game(record, [[(2.0, 3.0)]])[0] == 1
        assert pointing_game(record, [[(0.0, 2.0)]])[0] == 0
        assert pointing_game(record, [[(2.25, 9.0)]])[0] == pytest.approx(0.75)

    def test_ties_share_the_credit(self) -> None:
        record = discrete([1, 2, 2, 2], clock=FrameClock())
        assert pointing_game(record, [[(1.0, 2.0), (3.0, 4.0)]])[0] == pytest.approx(2 / 3)

    def test_tolerance_reaches_out_on_both_sides(self) -> None:
        record = discrete([0, 1, 0, 0], clock=FrameClock())
        assert pointing_game(record, [[(2.5, 3.0)]], tolerance=1.5)[0] == 1
        assert pointing_game(record, [[(0.0, 0.5)]], tolerance=1.5)[0] == 1
        assert pointing_game(record, [[(2.5, 3.0)]], tolerance=0.5)[0] == 0

    def test_a_density_points_at_its_mode(self) -> None:
        record = parabola(0.52, 0.3, 10)
        assert pointing_game(record, [[(0.45, 0.55)]])[0] == pytest.approx(1)
        assert pointing_game(record, [[(0.7, 0.95)]])[0] == pytest.approx(0)


class TestMass:
    def test_by_hand(self) -> None:
        record = discrete([0.1, 0.2, 0.3, 0.4], clock=FrameClock())
        assert mass_inside_events(record, [[(1.0, 2.5)]])[0] == pytest.approx(0.2 + 0.15)

    @given(st.integers(0, 1000), spans)
    def test_inside_and_outside_make_one(self, seed: int, events: list[tuple[float, float]]) -> None:
        record = softmax([10], seed)
        low, high = record.span(0)
        borders = sorted({low, high, *(min(max(t, low), high) for span in events for t in span)})
        inside = total = 0.0
        for a, b in itertools.pairwise(borders):
            piece = np.nan_to_num(mass_inside_events(record, [[(a, b)]])[0])
            total += piece
            if any(onset <= a and b <= offset for onset, offset in events):
                inside += piece
        assert total == pytest.approx(1)
        assert np.nan_to_num(mass_inside_events(record, [events])[0]) == pytest.approx(inside, abs=1e-9)

    def test_a_density_agrees_with_its_cdf_on_frame_borders(self) -> None:
        record = parabola(0.4, 0.3, 10)
        assert record.density is not None
        a, b = CLOCK.edges(10)[[2, 5]]
        exact = np.diff(record.density.cdf(np.array([a, b]))[0])[0]
        assert mass_inside_events(record, [[(a, b)]])[0] == pytest.approx(exact)


class TestSupport:
    def test_a_density_on_its_event_overlaps_entirely(self) -> None:
        assert support_iou(parabola(0.4, 0.2, 10), [[(0.2, 0.6)]])[0] == pytest.approx(1)

    def test_by_hand(self) -> None:
        assert support_iou(parabola(0.4, 0.2, 10), [[(0.4, 0.8)]])[0] == pytest.approx(0.2 / 0.6)
        assert support_iou(parabola(0.4, 0.2, 10), [[(0.6, 0.8)]])[0] == pytest.approx(0, abs=1e-12)
        record = discrete([0, 1, 0, 1], clock=FrameClock())
        assert support_iou(record, [[(1.5, 2.5)]])[0] == pytest.approx(0.5 / 2.5)

    def test_what_lies_outside_the_clip_does_not_count(self) -> None:
        assert support_iou(parabola(0.0, 0.25, 10), [[(-5.0, 0.25)]])[0] == pytest.approx(1)

    def test_attention_outside_the_clip_overlaps_nothing(self) -> None:
        assert support_iou(parabola(5.0, 0.25, 10), [[(0.0, 0.2)]])[0] == 0

    @given(st.integers(0, 1000), spans)
    @settings(max_examples=40)
    def test_agrees_with_counting_instants(self, seed: int, events: list[tuple[float, float]]) -> None:
        record = sparse(10, seed)
        result = support_iou(record, [events])[0]
        looks, sounds = (brute_force_times(s, *record.span(0)) for s in (record.support(0), events))
        if not math.isnan(result):
            assert result == pytest.approx((looks & sounds).sum() / (looks | sounds).sum(), abs=2e-3)


class TestEvents:
    @given(st.integers(0, 1000), spans, st.randoms())
    def test_order_overlap_and_pieces_change_nothing(
        self,
        seed: int,
        events: list[tuple[float, float]],
        random: object,
    ) -> None:
        record = softmax([10], seed)
        pieces = [piece for a, b in events for piece in ((a, (a + b) / 2), ((a + b) / 2, b), (a, b))]
        random.shuffle(pieces)  # type: ignore[attr-defined]
        for measure in FUNCTIONS:
            np.testing.assert_allclose(measure(record, [pieces]), measure(record, [events]), atol=1e-9)

    def test_clips_without_events_have_no_score(self) -> None:
        record = discrete([1, 1], [1, 1], [1, 1], [1, 1], clock=FrameClock())
        events = [[], [(5.0, 6.0)], [(1.0, 1.0)], [(0.0, 1.0)]]
        for measure in (pointing_game, mass_inside_events, support_iou, event_share):
            assert np.isnan(measure(record, events)).tolist() == [True, True, True, False]

    def test_padding_and_company_change_nothing(self) -> None:
        record = softmax([3, 10, 7])
        events = [[(0.0, 0.1)], [(0.3, 0.6)], [(0.2, 0.25), (0.4, 0.5)]]
        for measure in FUNCTIONS:
            alone = [measure(record[i], [events[i]])[0] for i in range(3)]
            np.testing.assert_allclose(measure(record, events), alone)

    def test_a_later_clock_with_later_events_is_the_same(self) -> None:
        weights = np.exp(np.random.default_rng(0).standard_normal(10)).tolist()
        early, late = discrete(weights), discrete(weights, clock=FrameClock(0.1, 6.95))
        for measure in FUNCTIONS:
            np.testing.assert_allclose(measure(late, [[(7.3, 7.45)]]), measure(early, [[(0.3, 0.45)]]))

    @pytest.mark.parametrize(
        ("events", "says"),
        [
            ([], "events of 0 clips for a record of 1"),
            ([[(1.0, 0.5)]], r"clip 0 \(unnamed\) has an event from 1.0 to 0.5"),
            ([[(0.0, math.nan)]], "it must begin before it ends"),
        ],
    )
    def test_bad_events_are_named(self, events: list[list[tuple[float, float]]], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            mass_inside_events(discrete([1, 1]), events)

    def test_other_bad_input_is_named(self) -> None:
        with pytest.raises(ValueError, match="record is empty"):
            pointing_game(AttentionRecord.empty(), [])
        with pytest.raises(ValueError, match="tolerance is -1"):
            pointing_game(discrete([1]), [[]], tolerance=-1)
        with pytest.raises(ValueError, match="n_draws is 0"):
            random_attention(discrete([1]), [[]], n_draws=0)
        with pytest.raises(ValueError, match="2 groups for 1 clips"):
            evaluate(discrete([1]), [[]], groups=["a", "b"])


class TestRankAccuracy:
    def test_by_hand(self) -> None:
        record = discrete([0.1, 0.4, 0.3, 0.2], clock=FrameClock())
        assert rank_accuracy(record, [[(1, 3)]])[0] == pytest.approx(1)
        assert rank_accuracy(record, [[(2, 4)]])[0] == pytest.approx(1 / 2)  # frames 1 and 2 are the first two
        assert rank_accuracy(record, [[(0, 1)]])[0] == pytest.approx(0)
        # one frame and a half of event: all of frame 1, half of which is event, and half of frame 2
        assert rank_accuracy(record, [[(1.5, 3)]])[0] == pytest.approx((0.5 + 0.5) / 1.5)

    def test_ties_at_the_border_are_taken_in_equal_parts(self) -> None:
        record = discrete([3, 1, 1, 0], clock=FrameClock())
        assert rank_accuracy(record, [[(0, 2)]])[0] == pytest.approx((1 + 1 / 2) / 2)

    @given(st.integers(0, 1000), st.floats(0.2, 5))
    @settings(max_examples=30)
    def test_only_the_order_counts(self, seed: int, power: float) -> None:
        """A rising function of the attention scores the same, so attributions of any size can be compared."""
        weights = np.random.default_rng(seed).random(12) + 0.01
        events = [[(0.2, 0.7)]]
        bent = rank_accuracy(discrete((weights**power).tolist()), events)
        assert bent[0] == pytest.approx(rank_accuracy(discrete(weights.tolist()), events)[0], abs=1e-9)

    @given(st.integers(0, 1000))
    @settings(max_examples=30)
    def test_is_precision_at_as_many_frames_as_are_event(self, seed: int) -> None:
        """Of events that begin and end with frames it is scikit-learn's R-precision."""
        from sklearn.metrics import precision_score

        generator = np.random.default_rng(seed)
        weights, first = generator.random(20), int(generator.integers(0, 15))
        inside = np.isin(np.arange(20), range(first, first + 5))
        attended = np.isin(np.arange(20), np.argsort(-weights)[:5])
        record = discrete(weights.tolist(), clock=FrameClock())
        expected = precision_score(inside, attended)
        assert rank_accuracy(record, [[(first, first + 5)]])[0] == pytest.approx(expected, abs=1e-9)


class TestRandomAttention:
    @given(st.integers(0, 1000), spans)
    @settings(max_examples=30)
    def test_every_draw_is_the_shifted_attention(self, seed: int, events: list[tuple[float, float]]) -> None:
        record = sparse(10, seed)
        if np.isnan(event_share(record, [events])[0]):
            return
        draws = random_attention(record, [events], n_draws=60, seed=seed)
        shifts = np.random.default_rng(seed).integers(0, 10, 60)
        moved = [discrete(np.roll(record.frame_attention(0), k).tolist()) for k in range(10)]
        for name, measure in zip(ALL_MEASURES, FUNCTIONS, strict=True):
            expected = np.array([measure(m, [events])[0] for m in moved])
            np.testing.assert_allclose(draws[name][0], expected[shifts], atol=1e-9)
            if name != "support_iou":  # over all places, chance is the share of events
                assert expected.mean() == pytest.approx(event_share(record, [events])[0])

    def test_is_reproducible_and_leaves_out_clips_without_events(self) -> None:
        record = softmax([5, 6])
        first, second = (random_attention(record, [[(0, 0.2)], []], n_draws=5, seed=1) for _ in range(2))
        for name in ALL_MEASURES:
            np.testing.assert_array_equal(first[name], second[name])
            assert np.isnan(first[name][1]).all()
            assert np.isfinite(first[name][0]).all()


class TestSwappedAttention:
    @given(st.integers(0, 1000))
    @settings(max_examples=20)
    def test_every_draw_is_the_attention_of_another_clip(self, seed: int) -> None:
        record = AttentionRecord.concatenate([sparse(20, seed + i) for i in range(4)])
        events = [[(0.1 * i, 0.1 * i + 0.5)] for i in range(4)]
        draws = swapped_attention(record, events, n_draws=40, seed=seed)
        for name, measure in zip(ALL_MEASURES, FUNCTIONS, strict=True):
            for i in range(4):
                others = [measure(record[j], [events[i]])[0] for j in range(4) if j != i]
                assert np.isclose(draws[name][i][:, None], others, atol=1e-9).any(axis=1).all()

    def test_attention_is_stretched_to_the_duration_of_the_other_clip(self) -> None:
        record = discrete([1, 3], [1, 1, 3, 3], clock=FrameClock())
        events = [[(1.0, 2.0)], [(2.0, 4.0)]]
        draws = swapped_attention(record, events, n_draws=3)
        for name in MEASURES[:2]:
            np.testing.assert_allclose(
                draws[name], np.broadcast_to([[1.0], [1.0]], (2, 3)) * (1 if name == MEASURES[0] else 0.75)
            )

    def test_one_clip_has_no_other(self) -> None:
        draws = swapped_attention(softmax([5, 5]), [[(0.0, 0.1)], []], n_draws=3)
        assert all(np.isnan(scores).all() for scores in draws.values())


class TestEvaluate:
    def events(self, n: int, seed: int = 0) -> list[list[tuple[float, float]]]:
        return [[(t, t + 0.2)] for t in np.random.default_rng(seed).uniform(0, 1.6, n)]

    def test_measures_are_chosen_by_name(self) -> None:
        table = evaluate(softmax([9, 9]), [[(0, 0.3)], [(0.2, 0.5)]], measures=ALL_MEASURES[::-1], n_draws=5)
        assert list(table.index) == [*ALL_MEASURES[::-1]]
        assert np.isfinite(table.loc["rank_accuracy", ["value", "gain", "random", "swapped"]].astype(float)).all()
        with pytest.raises(ValueError, match="measures has 'mass'; allowed are pointing_game"):
            evaluate(softmax([9]), [[]], measures=["mass"])

    def test_attention_on_the_events_beats_chance(self) -> None:
        events = self.events(30)
        record = AttentionRecord.concatenate([parabola((a + b) / 2, 0.1, 20) for ((a, b),) in events])
        table = evaluate(record, events)
        assert list(table.index) == list(MEASURES)
        assert (table["value"] > 0.85).all()  # frames of 0.1 s blur the mass of a density 0.2 s wide
        assert (table["low"] <= table["value"]).all()
        assert (table["gain_low"] > 0.5).all()
        assert (table[["random_p", "swapped_p"]] < 0.01).all(axis=None)
        assert (table["clips"] == 30).all()
        assert table.loc["mass_inside_events", "uniform"] == pytest.approx(0.1, abs=1e-3)
        assert table.loc["mass_inside_events", "random"] == pytest.approx(0.1, abs=0.02)

    def test_uniform_attention_gains_nothing(self) -> None:
        table = evaluate(discrete(*[[1.0] * 20] * 12), self.events(12), n_draws=50)
        np.testing.assert_allclose(table["gain"], 0, atol=1e-9)
        assert (table[["random_p", "swapped_p"]] == 1).all(axis=None)

    def test_attention_at_random_places_is_rarely_significant(self) -> None:
        generator = np.random.default_rng(1)
        p = []
        for seed in range(40):
            records = [parabola(t, 0.1, 20) for t in generator.uniform(0.1, 1.7, 20)]
            table = evaluate(AttentionRecord.concatenate(records), self.events(20, seed), n_draws=200, n_resamples=100)
            p.append(table[["random_p", "swapped_p"]].to_numpy())
        assert np.mean(np.array(p) < 0.05) < 0.15

    def test_always_looking_at_the_middle_is_no_evidence(self) -> None:
        events = [[(t, t + 0.6)] for t in np.random.default_rng(0).uniform(0.2, 1.1, 40)]
        table = evaluate(AttentionRecord.concatenate([parabola(0.95, 0.2, 20)] * 40), events)
        assert (table["random_p"] < 0.01).all()  # events are in the middle more often than not
        assert (table["swapped_p"] == 1).all()

    def test_clips_without_events_are_left_out_and_counted(self) -> None:
        record = softmax([20] * 6)
        events = [*self.events(4), [], []]
        table = evaluate(record, events, n_draws=50)
        assert (table["clips"] == 4).all()
        assert (table["left_out"] == 2).all()
        alone = evaluate(record[:4], events[:4], n_draws=50)
        assert table["value"].to_numpy() == pytest.approx(alone["value"].to_numpy())

    def test_one_clip_with_events_has_nothing_to_swap_with(self) -> None:
        table = evaluate(softmax([20, 20]), [*self.events(1), []], n_draws=20)
        assert table[["value", "random_p"]].notna().all(axis=None)
        assert table[["low", "swapped", "swapped_low", "swapped_p"]].isna().all(axis=None)

    def test_without_any_event_there_is_no_number(self) -> None:
        table = evaluate(softmax([10, 10]), [[], []])
        assert table["value"].isna().all()
        assert (table["left_out"] == 2).all()

    def test_groups_widen_the_intervals(self) -> None:
        record, events = sparse_clips(5), self.events(5)
        copied = record[np.repeat(np.arange(5), 8)]
        many = [events[i] for i in np.repeat(np.arange(5), 8)]
        by_clip = evaluate(copied, many, n_draws=50)
        by_group = evaluate(copied, many, n_draws=50, groups=np.repeat(np.arange(5), 8))
        wide, narrow = (
            (measured["high"] - measured["low"])[["mass_inside_events", "support_iou"]]
            for measured in (by_group, by_clip)
        )
        assert (wide > 1.5 * narrow).all()

    def test_is_json_and_reproducible(self) -> None:
        first, second = (evaluate(softmax([20] * 3), self.events(3), n_draws=20, seed=4) for _ in range(2))
        assert json.dumps(first.to_dict("index")) == json.dumps(second.to_dict("index"))
