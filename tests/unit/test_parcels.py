"""The second example's rows are the same each time, and can be learned from."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from mlops_kit.examples.parcels.generator import generate


def test_the_same_seed_gives_the_same_rows() -> None:
    assert generate(500, seed=3).equals(generate(500, seed=3))
    assert not generate(500, seed=3).equals(generate(500, seed=4))


def test_rows_have_text_dates_gaps_and_a_target() -> None:
    rows = generate(4_000)
    assert [str(rows[name].dtype) for name in ("distance_km", "fragile")] == ["float64", "bool"]
    assert rows["sent_at"].is_monotonic_increasing
    assert 0.05 < rows["weight_kg"].isna().mean() < 0.11
    assert not rows.drop(columns=["weight_kg", "insured_eur"]).isna().any().any()
    assert rows["parcel"].is_unique
    assert (rows["hours"] > 0).all()


def test_the_target_can_be_learned() -> None:
    rows = generate(6_000)
    numbers = rows[["distance_km", "weight_kg", "fragile"]].astype(float)
    for name in ("carrier", "service"):
        numbers = numbers.assign(**{name: rows[name].astype("category").cat.codes})
    numbers = numbers.assign(weekend=rows["sent_at"].dt.day_of_week >= 5)
    model = HistGradientBoostingRegressor(random_state=0).fit(
        numbers[:4_000], rows["hours"][:4_000]
    )
    gaps = np.abs(model.predict(numbers[4_000:]) - rows["hours"][4_000:])
    spread = np.abs(rows["hours"][4_000:] - rows["hours"][:4_000].median())
    assert gaps.mean() < spread.mean() / 2
