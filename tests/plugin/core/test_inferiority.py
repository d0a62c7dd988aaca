"""A variant is non-inferior only where the data exclude a loss as large as the margin."""

from fractions import Fraction

import pytest

from joulegate.core.comparison import variant_of
from joulegate.core.errors import InvalidInputError
from joulegate.core.inferiority import Comparing, Inferiority, MarginTest, compared, margin_test
from joulegate.core.records import Quality
from tests.plugin.core.audited import record, window


def held_against(share: float, base: float, n: int, margin: str, *, better: bool = True) -> MarginTest:
    name = "accuracy" if better else "error_rate"
    one, other = (
        variant_of(record(who, [1], work=(window(100, 10),), quality=(Quality(name, value, n, better),)), {})
        for who, value in (("small", share), ("large", base))
    )
    return margin_test(one, other, Fraction(margin))


def test_the_published_example_comes_out() -> None:
    """Newcombe (1998), table II, example (a), method 10: 56/70 less 48/80 is within 0.0524 to 0.3339."""
    one, other = (
        variant_of(record(who, [1], work=(window(100, 10),), quality=(Quality("accuracy", k / n, n),)), {})
        for who, k, n in (("a", 56, 70), ("b", 48, 80))
    )
    found = margin_test(one, other, Fraction("0.01"))
    assert found.most is not None
    assert -float(found.most) == pytest.approx(0.0524, abs=5e-5)
    back = margin_test(other, one, Fraction("0.01"))
    assert back.most is not None
    assert float(back.most) == pytest.approx(0.3339, abs=5e-5)


def test_the_same_share_is_shown_by_many_samples_and_not_by_few() -> None:
    assert held_against(0.9, 0.9, 100, "0.02").finding is Inferiority.NOT_SHOWN
    assert held_against(0.9, 0.9, 100_000, "0.02").finding is Inferiority.NON_INFERIOR


def test_a_wider_margin_never_takes_a_finding_back() -> None:
    findings = [held_against(0.89, 0.9, 5_000, margin).finding for margin in ("0.005", "0.02", "0.03", "0.2")]
    assert findings == [Inferiority.NOT_SHOWN] * 1 + findings[1:]
    assert findings[-1] is Inferiority.NON_INFERIOR
    assert findings == sorted(findings, key=lambda found: found is Inferiority.NON_INFERIOR)


def test_where_less_is_better_more_is_the_loss() -> None:
    assert held_against(0.2, 0.1, 1_000, "0.05", better=False).finding is Inferiority.NOT_SHOWN
    assert held_against(0.1, 0.2, 1_000, "0.05", better=False).finding is Inferiority.NON_INFERIOR
    up, down = held_against(0.9, 0.8, 500, "0.05"), held_against(0.1, 0.2, 500, "0.05", better=False)
    assert (up.loss, up.finding) == (down.loss, down.finding)
    assert float(up.most or 0) == pytest.approx(float(down.most or 0), abs=1e-8)


def test_without_an_interval_nothing_is_decided() -> None:
    one, other = (
        variant_of(record(who, [1], work=(window(100, 10),), quality=(Quality("loss", 0.1),)), {}) for who in "ab"
    )
    found = margin_test(one, other, Fraction(1))
    assert (found.finding, found.most) == (Inferiority.UNDECIDABLE, None)


@pytest.mark.parametrize("margin", ["0", "-1/100"])
def test_a_margin_is_more_than_nothing(margin: str) -> None:
    with pytest.raises(InvalidInputError, match="margin"):
        held_against(0.9, 0.9, 10, margin)


def test_a_variant_without_a_finished_run_is_named() -> None:
    with pytest.raises(InvalidInputError, match="'missing'"):
        compared([], Comparing(("missing",)))
