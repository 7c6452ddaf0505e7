"""Judge any model by the verification protocol: runs, weights, ONNX files, embeddings, distances.

`models` opens networks, `arrays` what was made elsewhere, `pair_lists` and `images` what they are asked;
`judgement` takes the figures, `folder` writes them down, `photos` decides about pairs of photos.
"""
