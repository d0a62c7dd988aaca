"""The demo's pipeline: a model of handwritten digits, three cheaper variants of it, and what each draws.

Plain KFP. Joulegate's are the lines with `measured` above a component, and `joulegate.work`
around what is worth measuring by itself. Only the first step needs scikit-learn, for its data;
the others compute with numpy. A model is a file of arrays, and activations are (features,
samples), so that every layer is one product from the left.

    python docs/demo/pipeline.py run FOLDER       # locally, each step a process of its own
    python docs/demo/pipeline.py compile FILE     # for a cluster
"""

import sys

from kfp import compiler, dsl, local

from joulegate.pipelines import from_input, measured

# What a cluster would pull: Python with kfp, joulegate, numpy and scikit-learn. KFP can also install them into
# a plain image, `packages_to_install=["joulegate", "numpy"]`; here they are there, so nothing is installed.
STEP = {"base_image": "registry.example/digits-python:1", "install_kfp_package": False}
MODEL = "digits-mlp"


def layers_of(path):
    """The layers of a model's file, of whatever variant: functions of (features, samples)."""
    import numpy as np

    def dense(weights, bias):
        return lambda x: weights @ x + bias

    def sparse(rows, blocks, bias):
        # Every group of units reads only the rows that pruning has left it.
        return lambda x: np.matmul(blocks, x[rows]).reshape(-1, x.shape[1]) + bias

    def int8(whole_weights, scale, bias):
        def layer(x):
            step = np.abs(x).max() / 127
            whole = np.rint(x / step).astype(np.int8)
            return np.matmul(whole_weights, whole, dtype=np.int32) * (scale * step) + bias

        return layer

    arrays = np.load(path)
    layers = []
    for number in range(len({name.partition(".")[0] for name in arrays})):
        own = {name.partition(".")[2]: arrays[name] for name in arrays if name.startswith(f"{number}.")}
        form = dense if "weights" in own else sparse if "blocks" in own else int8
        layers.append(form(**own))
    return layers


def outputs_of(layers, x):
    """What the last layer says of `x` (features, samples); ReLU between the layers."""
    import numpy as np

    for layer in layers[:-1]:
        x = np.maximum(layer(x), 0)
    return layers[-1](x)


def untrained(*sizes):
    """Weights and biases of layers of these sizes (He initialisation)."""
    from itertools import pairwise

    import numpy as np

    random = np.random.default_rng(3)
    scaled = [random.standard_normal((units, inputs)) * np.sqrt(2 / inputs) for inputs, units in pairwise(sizes)]
    return [(w.astype(np.float32), np.zeros((len(w), 1), np.float32)) for w in scaled]


def fitted(layers, x, targets, epochs, masks=None):
    """Layers trained with Adam on the cross-entropy to `targets` (classes, samples), hard or soft.

    Where there are masks, weights outside them stay zero.
    """
    import numpy as np

    random = np.random.default_rng(7)
    parameters = [array.copy() for layer in layers for array in layer]
    kept = [part for mask in masks for part in (mask, 1)] if masks else [1] * len(parameters)
    first = [np.zeros_like(array) for array in parameters]
    second = [np.zeros_like(array) for array in parameters]
    step, batch = 0, 64
    for _ in range(epochs):
        order = random.permutation(x.shape[1])
        for chosen in np.split(order, range(batch, order.size, batch)):
            step += 1
            seen = [x[:, chosen]]
            for at in range(0, len(parameters), 2):
                sums = parameters[at] @ seen[-1] + parameters[at + 1]
                seen.append(np.maximum(sums, 0) if at + 2 < len(parameters) else sums)
            shares = np.exp(seen[-1] - seen[-1].max(0))
            error = (shares / shares.sum(0) - targets[:, chosen]) / chosen.size
            for at in range(len(parameters) - 2, -1, -2):
                slopes = error @ seen[at // 2].T, error.sum(1, keepdims=True)
                error = (parameters[at].T @ error) * (seen[at // 2] > 0)
                for number, slope in enumerate(slopes, at):
                    first[number] = 0.9 * first[number] + 0.1 * slope
                    second[number] = 0.999 * second[number] + 0.001 * slope**2
                    spread = np.sqrt(second[number] / (1 - 0.999**step)) + 1e-8
                    parameters[number] -= 0.002 * first[number] / (1 - 0.9**step) / spread
                    parameters[number] *= kept[number]
    return list(zip(parameters[::2], parameters[1::2], strict=True))


@measured(kind="data-preparation")
@dsl.component(**STEP)
def load_digits(data: dsl.Output[dsl.Dataset]):
    """1,797 handwritten digits of 8 x 8 grey pixels, 397 of them held out."""
    import numpy as np
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(1).permutation(len(digits.target))
    x = (digits.data[order] / 16).T.astype(np.float32)
    labels = digits.target[order]
    with open(data.path, "wb") as file:
        np.savez(file, x=x[:, :1400], labels=labels[:1400], held_out_x=x[:, 1400:], held_out_labels=labels[1400:])


@measured(kind="training", model=MODEL, variant="original")
@dsl.component(**STEP, additional_funcs=[untrained, fitted])
def train(data: dsl.Input[dsl.Dataset], model: dsl.Output[dsl.Model]):
    """The original: 64-512-256-10 units."""
    import numpy as np

    digits = np.load(data.path)
    truth = np.eye(10, dtype=np.float32)[digits["labels"]].T
    layers = fitted(untrained(64, 512, 256, 10), digits["x"], truth, epochs=30)
    arrays = {
        f"{n}.{key}": v for n, pair in enumerate(layers) for key, v in zip(("weights", "bias"), pair, strict=True)
    }
    with open(model.path, "wb") as file:
        np.savez(file, **arrays)


@measured(kind="training", model=MODEL, variant="distilled")
@dsl.component(
    **STEP,
    additional_funcs=[untrained, fitted, layers_of, outputs_of],
)
def distil(data: dsl.Input[dsl.Dataset], teacher: dsl.Input[dsl.Model], model: dsl.Output[dsl.Model]):
    """A student of 64-32-10 units, taught by the original's softened outputs (Hinton et al., 2015) and the labels."""
    import numpy as np

    digits = np.load(data.path)
    truth = np.eye(10, dtype=np.float32)[digits["labels"]].T
    softened = np.exp(outputs_of(layers_of(teacher.path), digits["x"]) / 3)
    targets = (0.7 * softened / softened.sum(0) + 0.3 * truth).astype(np.float32)
    layers = fitted(untrained(64, 32, 10), digits["x"], targets, epochs=60)
    arrays = {
        f"{n}.{key}": v for n, pair in enumerate(layers) for key, v in zip(("weights", "bias"), pair, strict=True)
    }
    with open(model.path, "wb") as file:
        np.savez(file, **arrays)


@measured(kind="fine-tuning", model=MODEL, variant="sparse")
@dsl.component(**STEP, additional_funcs=[fitted])
def sparsify(data: dsl.Input[dsl.Dataset], dense: dsl.Input[dsl.Model], model: dsl.Output[dsl.Model]):
    """About four of five weights pruned, in blocks, by magnitude; the rest tuned again and stored without the zeros."""
    import numpy as np

    digits, arrays = np.load(data.path), np.load(dense.path)
    original = [(arrays[f"{number}.weights"], arrays[f"{number}.bias"]) for number in range(3)]
    # Units to a group, inputs to a block, blocks that each group keeps: one line a layer.
    plan = [(64, 8, 4), (32, 32, 2), (10, 32, 4)]
    masks, rows = [], []
    for (weights, _), (group, block, keep) in zip(original, plan, strict=True):
        tiles = np.abs(weights).reshape(len(weights) // group, group, -1, block).sum((1, 3))
        largest = np.sort(np.argsort(tiles, 1)[:, -keep:], 1)
        rows.append((largest[:, :, None] * block + np.arange(block)).reshape(len(largest), -1))
        mask = np.zeros_like(tiles)
        np.put_along_axis(mask, largest, 1, 1)
        masks.append(np.repeat(np.repeat(mask, group, 0), block, 1))
    pruned = [(weights * mask, bias) for (weights, bias), mask in zip(original, masks, strict=True)]
    truth = np.eye(10, dtype=np.float32)[digits["labels"]].T
    kept = {}
    for number, (weights, bias) in enumerate(fitted(pruned, digits["x"], truth, epochs=30, masks=masks)):
        groups = np.split(weights, len(rows[number]))
        blocks = np.stack([own[:, read] for own, read in zip(groups, rows[number], strict=True)])
        kept |= {f"{number}.rows": rows[number], f"{number}.blocks": blocks, f"{number}.bias": bias}
    with open(model.path, "wb") as file:
        np.savez(file, **kept)


@measured(model=MODEL, variant="quantised")
@dsl.component(**STEP)
def quantise(dense: dsl.Input[dsl.Model], model: dsl.Output[dsl.Model]):
    """Weights as 8-bit whole numbers, one scale a unit; activations are quantised as they come."""
    import numpy as np

    arrays = np.load(dense.path)
    whole = {}
    for number in range(3):
        weights = arrays[f"{number}.weights"]
        scale = np.abs(weights).max(1, keepdims=True) / 127
        whole[f"{number}.whole_weights"] = np.rint(weights / scale).astype(np.int8)
        whole |= {f"{number}.scale": scale, f"{number}.bias": arrays[f"{number}.bias"]}
    with open(model.path, "wb") as file:
        np.savez(file, **whole)


@measured(kind="evaluation", model=MODEL, variant=from_input("variant"))
@dsl.component(**STEP, additional_funcs=[layers_of, outputs_of])
def evaluate(data: dsl.Input[dsl.Dataset], model: dsl.Input[dsl.Model], variant: str, metrics: dsl.Output[dsl.Metrics]):
    """Predict the held-out digits, again and again for 3 s, and say how many were right."""
    import numpy as np

    import joulegate

    digits = np.load(data.path)
    x, labels = digits["held_out_x"], digits["held_out_labels"]
    layers = layers_of(model.path)
    outputs_of(layers, x)  # the first one pays for what later ones do not
    with joulegate.work("predict", predictions=labels.size) as work:
        for _ in work.repeat(seconds=3):
            outputs = outputs_of(layers, x)
        accuracy = float((outputs.argmax(0) == labels).mean())
        work.quality(accuracy=accuracy, n=labels.size)
    metrics.log_metric("accuracy", accuracy)


@dsl.pipeline(name="digits")
def digits():
    """Train, make three variants, evaluate all four."""
    data = load_digits().outputs["data"]
    original = train(data=data).outputs["model"]
    variants = {
        "original": original,
        "distilled": distil(data=data, teacher=original).outputs["model"],
        "sparse": sparsify(data=data, dense=original).outputs["model"],
        "quantised": quantise(dense=original).outputs["model"],
    }
    before = None
    for variant, model in variants.items():
        task = evaluate(data=data, model=model, variant=variant)
        # One after the other: variants that run at the same time would share the processor.
        before = task.after(before) if before else task


if __name__ == "__main__":
    action, place = sys.argv[1:]
    if action == "compile":
        compiler.Compiler().compile(digits, place)
    else:
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=place)
        digits()
