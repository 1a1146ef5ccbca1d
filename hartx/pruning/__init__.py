"""A finished run's 3D network made smaller, then fine-tuned: `python main.py --config=configs/prune.py`.

* group: channels that can only go together. Those between two convolutions of a block are a group of their own; what
  blocks add to each other must have the same channels everywhere, so the stem, or a projection, and all blocks behind
  it up to the next projection are one group.
* importance of a channel: how much the loss would change without it (`importance`).
* plan: which channels of each group are kept (`plan`).

What comes out is a plain `ResNet3D`, whose widths stand in its run's config.
"""
