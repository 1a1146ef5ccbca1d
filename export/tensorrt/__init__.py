"""A bundle -> a TensorRT engine, on the device that will run it.

These files run where there is no JAX: they import `edge`, numpy and, when something is built, the `tensorrt`
that the device has. Python 3.8 and up.

  versions     what each TensorRT release can do
  onnx_header  opset and inputs of a model file, read without the onnx package
  plan         what is to be done, as data, for a bundle and a release
  trtexec      the same as a shell command, for releases too old for the rest
  builder      carries a plan out
  cache        scales as TensorRT's own calibration cache
  calibration  the scales of calibration.json, and a calibrator that hands them over
  choose       times of engines that take turns, and which one is kept
  record       an engine and the JSON beside it

The GPU, an engine that runs on arrays, and whether it may be loaded here: `edge.engines`.
"""
