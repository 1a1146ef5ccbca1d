"""How well a trained network does on continuous sequences, where trimmed clips flatter.

`python -m hartx.streaming --workdir=RUN` joins the recordings of each subject of a side into one sequence, slides
a window over it, applies the smoothing, threshold and hysteresis of `edge.streaming`, and measures what is said.

**Sequence** (`sequence`). All recordings of a subject in a drawn order (seeded), with `rest_s` seconds between two,
before the first and after the last. There the person stands still: frames hold the last one of the recording
before for the first half and the first one of the recording to come for the second half; joints and inertial
samples go in a straight line from the one to the other. Nothing is warped: the real still moments at the start and
end of a recording count as part of its action.

**Window**. `window_s` seconds, by default what the run was trained for: of a network that sees whole recordings
(`clip.sampling = uniform`) their median length, so recordings longer and shorter than that do not fit the window.
This is measured, not corrected. The next window starts `window_s * stride / frames` later. A prediction is known at
the window's end; computing it takes no time here.

**Instance**: one recording in the sequence, from its first frame to its last. **Event**: consecutive decisions
for the same action, from the first to the last.

Probabilities are those of the device: with the temperature that `hartx.calibrate` fitted for the run, if it did.

- window accuracy: of the windows whose middle lies in an instance, the share whose most likely label, without
  smoothing and threshold, is the label that covers most of the window. Decision accuracy: the same for what is said.
- none accuracy: of the windows whose middle lies between instances, the share after which `none` is said.
- An instance is **heard** from its start to its stop + `window_s`: a window that ends then still sees it.
- detection rate: the share of the instances whose label is said while they are heard. Two instances of one action
  in a row may be served by the same decision.
- false alarm: an event that overlaps no instance of its label while that is heard. Per minute of the sequences.
- delay: seconds from an instance's start until its label is first said, of those that are detected.

The **threshold** is an operating point. Choose it on subjects that train (`--side=train` writes the curve and
names the best F1 of detections and false alarms) or on a validation subject, never on the test side. A network is
surer about subjects it has trained on, so the curve of a validation subject is the better guide where there is one.
"""
