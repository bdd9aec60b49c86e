"""OpenCV's FaceDetectorYN, as its own sample uses it."""

import itertools

import cv2


def results(model, video, frames, width, height, score, iou):
    """Endless (rows of faces, scale to the frame); the first frames of the video, from memory."""
    detector = cv2.FaceDetectorYN.create(model, "", (width, height), score, iou)
    for frame in itertools.cycle(read_frames(video, frames)):
        _, faces = detector.detect(cv2.resize(frame, (width, height)))
        yield [] if faces is None else faces, (frame.shape[1] / width, frame.shape[0] / height)


def plain(result):
    faces, (across, down) = result
    return [
        [x * across, y * down, (x + w) * across, (y + h) * down, score]
        for x, y, w, h, *_, score in (list(map(float, face)) for face in faces)
    ]


def read_frames(video, count):
    capture = cv2.VideoCapture(video)
    return [capture.read()[1] for _ in range(count)]
