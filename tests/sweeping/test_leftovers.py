"""What a killed driver leaves of its trials goes with the next."""

from dataclasses import replace
from pathlib import Path

from test_front import point

from fftune.config import SweepConfig, with_settings
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.training_trial import snapshots_of
from fftune.sweeping.trial_runner import TrialRunner
from fftune.tracking.store import Tracking


def test_folders_of_unfinished_trials_and_snapshots_of_ended_ones_go(
    quick: SweepConfig, tmp_path: Path
) -> None:
    study = StudyDir(tmp_path / "studies/quick", quick)
    study.trial(0).mkdir(parents=True)
    study.finish([replace(point(0, 5.0, (10, 5), (12, 3)), settings={"lam": 5.0})])
    study.trial(1).mkdir()
    (study.trial(1) / ".outcomes.parquet.part").write_text("half")
    of_ended, of_begun = (
        snapshots_of(study, with_settings(quick.base, {"lam": lam})).folder for lam in (5.0, 7.0)
    )
    for folder in (of_ended, of_begun):
        folder.mkdir(parents=True)
        (folder / "1-0.pt").write_bytes(b"state")
    nowhere = Tracking(uri="", experiment_id="", unsent=tmp_path)
    for _ in range(2):
        TrialRunner(study=study, tracking=nowhere).tidy()
        assert not of_ended.exists() and of_begun.exists()
        assert [path.name for path in study.path.glob("trials/*")] == ["0"]
        assert study.results(0)
