"""UTD-MHAD: 27 actions by 8 subjects in colour, depth, skeletons and inertial signals.

builder = utd_mhad.prepare("UTD-MHAD", data_dir)
records = builder.as_data_source("s1+s3")
"""

from datasets.utd_mhad.preparing import prepare
from datasets.utd_mhad.recordings import ACTIONS, DEPTH_DELAY_S, EXPECTED, MODALITIES, SUBJECTS, RecordingId

__all__ = ["ACTIONS", "DEPTH_DELAY_S", "EXPECTED", "MODALITIES", "SUBJECTS", "RecordingId", "prepare"]
