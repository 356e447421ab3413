"""The model's inputs: the measurements themselves and two of their ratios, all of them numbers."""

from ml.features.definition import Array, Columns, column, row_feature


@row_feature("number")
def growth(examination: Columns) -> Array:
    """How much larger the largest nuclei are than the usual one."""
    return examination["worst_radius"] / examination["mean_radius"]


@row_feature("number")
def roundness(examination: Columns) -> Array:
    """Area over the square of the perimeter: less, the more ragged a nucleus is."""
    return examination["mean_area"] / examination["mean_perimeter"] ** 2


FEATURES = (
    growth,
    roundness,
    column("mean_texture", "number", "Spread of the grey values."),
    column("mean_smoothness", "number", "Local variation of the radius."),
    column("mean_concavity", "number", "How deep the contour is dented; not measurable on blurred images."),
    column("mean_symmetry", "number", "How unlike the two halves are."),
    column("worst_perimeter", "number", "Perimeter of the three largest nuclei."),
    column("worst_texture", "number", "Spread of the grey values of the three largest nuclei."),
    column("worst_smoothness", "number", "Local variation of the radius of the three largest nuclei."),
    column("worst_concavity", "number", "How deep the contour of the three largest nuclei is dented."),
    column("worst_symmetry", "number", "How unlike the halves of the three largest nuclei are."),
)
