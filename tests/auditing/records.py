"""A record of an audit, for tests of what is made of one."""

from dataclasses import replace

from fftune.auditing.record import (
    AuditedBattery,
    AuditedData,
    AuditedModel,
    AuditRecord,
    Finder,
    Finding,
)
from fftune.config import ThreatModel

EXACT = Finding(
    measure="accuracy",
    bar=0.95,
    at_most=False,
    outcome="pass",
    exact=True,
    value=0.96,
    low=0.96,
    high=0.96,
    alpha_low=0,
    alpha_high=0,
    population=1000,
    examined=1000,
    found=960,
    denominator=1000,
    population_interval=(0.945, 0.972),
    certified_high=None,
    found_by=(),
    unexcluded="",
    sentence="accuracy is 96.0 %, at least 95 %: 960 of all 1,000 images are right.",
)
SAMPLED = Finding(
    measure="hypocritical_risk",
    bar=0.3,
    at_most=True,
    outcome="fail",
    exact=False,
    value=0.75,
    low=0.41,
    high=0.97,
    alpha_low=0.025,
    alpha_high=0.05,
    population=40,
    examined=16,
    found=12,
    denominator=40,
    population_interval=(0.4, 0.98),
    certified_high=0.99,
    found_by=(
        Finder(attack="pgd-20", goal="hypocritical", count=11, passes=960),
        Finder(attack="strong", goal="hypocritical", count=12, passes=12_000),
    ),
    unexcluded="a stronger friend may conceal more: the risk is a lower bound",
    sentence="hypocritical_risk is at least 41 %, above 30 %: 12 of 16 mistakes were concealed.",
)


def audit_record(**changes: object) -> AuditRecord:
    """A failed audit: one exact fact that passes, and one risk from a sample that does not."""
    record = AuditRecord(
        outcome="fail",
        sentence="FAIL: 1 of 2 bars is missed.",
        findings=(EXACT, SAMPLED),
        model=AuditedModel(
            name="fastat_small",
            hash="1a2b3c4d5e6f7081",
            weights="fastat_small.pt",
            weights_sha256="ab" * 32,
            code="0011223344556677",
            origin="",
        ),
        data=AuditedData(
            name="cifar10",
            split="test",
            hash="8877665544332211",
            n=1000,
            available=10_000,
            wrong=40,
            signature=None,
        ),
        threat=ThreatModel(eps=8 / 255),
        battery=AuditedBattery(
            name="hypocritical",
            tier="escalating",
            attacks=("fgsm", "pgd-20", "pgd-100", "cw-100", "strong"),
            hash="0123456789abcdef",
            device="cpu",
            block_size=16,
        ),
        alpha=0.05,
        examples=None,
        seed=0,
        fftune="0.2.0",
        created="2026-01-02T03:04:05+00:00",
        command="fftune audit net.py:net --data cifar10 --bar hypocritical_risk=.3",
        remarks=("vanishing-gradient: 12 of 16 images have a gradient of 0",),
    )
    return replace(record, **changes)  # type: ignore[arg-type]
