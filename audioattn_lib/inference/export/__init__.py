"""A trained model for other programs: folder and hub, model card, ONNX, web page."""
