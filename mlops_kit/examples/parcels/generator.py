"""Generate parcels and the hours until each is delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# Hours that each carrier takes beside the distance, and its kilometres an hour.
CARRIERS = {"Falcon": (6.0, 45.0), "Heron": (12.0, 35.0), "Wagtail": (20.0, 28.0)}
CITIES = ("Bergen", "Graz", "Lyon", "Porto", "Riga", "Turin")
_SERVICES = {"express": 0.7, "standard": 1.0, "saver": 1.35}
_MISSING_SHARE = 0.08
_PER_DAY = 400


def generate(rows: int, *, seed: int = 7) -> pd.DataFrame:
    """Return parcels in the order of their dispatch; the same for the same seed.

    Text (parcel, carrier, service, origin), dates (sent_at), booleans (fragile), numbers with gaps
    (weight_kg, insured_eur) and the target, hours (over 0).
    """
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(seed)
    start = np.datetime64("2026-01-05T00:00")
    minutes = np.sort(random.uniform(0, 24 * 60 * max(1, rows / _PER_DAY), rows)).astype(int)
    sent_at = pd.Series(start + minutes.astype("timedelta64[m]"))
    carriers = random.choice([*CARRIERS], rows, p=[0.5, 0.3, 0.2])
    services = random.choice([*_SERVICES], rows, p=[0.25, 0.6, 0.15])
    distance = random.gamma(4.0, 180.0, rows).round(1)
    weight = random.gamma(2.0, 2.5, rows).round(2)
    fragile = random.random(rows) < 0.2
    wait, speed = (np.array([CARRIERS[each][place] for each in carriers]) for place in (0, 1))
    factor = np.array([_SERVICES[each] for each in services])
    is_weekend = sent_at.dt.day_of_week.to_numpy() >= 5
    hours = (wait + distance / speed) * factor + 0.4 * weight + 4.0 * fragile + 18.0 * is_weekend
    hours *= np.exp(0.15 * random.standard_normal(rows))
    frame = pd.DataFrame(
        {
            "parcel": [f"P{number:07d}" for number in range(rows)],
            "sent_at": sent_at,
            "carrier": carriers,
            "service": services,
            "origin": random.choice(CITIES, rows),
            "distance_km": distance,
            "weight_kg": weight,
            "insured_eur": random.gamma(1.5, 60.0, rows).round(2),
            "fragile": fragile,
            "hours": hours.round(2),
        }
    )
    for name in ("weight_kg", "insured_eur"):
        frame.loc[random.random(rows) < _MISSING_SHARE, name] = np.nan
    return frame
