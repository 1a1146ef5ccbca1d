"""Anybody's own clips: a folder of colour videos for each class.

builder = video_folder.prepare("clips", data_dir)
records = builder.as_data_source("s1+s2")
"""

from datasets.video_folder.preparing import prepare

__all__ = ["prepare"]
