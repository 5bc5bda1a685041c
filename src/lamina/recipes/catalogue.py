"""The recipes by name; nothing heavy is imported until one is run."""

from __future__ import annotations

from dataclasses import dataclass

from lamina.errors import ConfigError, nearest, shown


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a recipe before it is run.

    Attributes:
        name: How it is asked for.
        claim: What it shows, one sentence.
        source: Who claims it.
        module: Where its ``recipe`` stands.
        seeds: How many seeds it takes unless told otherwise.
        minutes: About how long it takes on one core of 2020s make.
    """

    name: str
    claim: str
    source: str
    module: str
    seeds: int
    minutes: float


ENTRIES = (
    Entry(
        "xor",
        "Two hidden units solve XOR: wired by hand they do so exactly; training finds a solution from about half of "
        "all starts, from nearly all with more units.",
        "Pattipati, Multi-layer Perceptrons and Deep Networks; Goodfellow, Bengio & Courville 2016, section 6.1",
        "lamina.recipes.xor",
        5,
        0.25,
    ),
    Entry(
        "parity",
        "One hidden layer computes the parity of n bits: n units wired by hand are exact on all 2^n inputs; training "
        "needs more.",
        "Pattipati, Multi-layer Perceptrons and Deep Networks; Rumelhart, Hinton & Williams 1986, PDP volume 1, ch. 8",
        "lamina.recipes.parity",
        5,
        1.5,
    ),
    Entry(
        "universal-approximation",
        "One hidden layer of sigmoid units comes as near to a continuous function as we like: the error falls with the "
        "number of units.",
        "Cybenko 1989; Hornik, Stinchcombe & White 1989; the construction as in Pattipati's course",
        "lamina.recipes.universal_approximation",
        5,
        1.0,
    ),
    Entry(
        "regularisation",
        "With few digits of MNIST some regularisers lower the test error and others do not; each has the same small "
        "budget for its setting.",
        "Goodfellow, Bengio & Courville 2016, chapter 7",
        "lamina.recipes.regularisation",
        5,
        40.0,
    ),
    Entry(
        "convergence",
        "On quadratics the error falls by the factor that theory says: gradient descent needs iterations in proportion "
        "to the condition number, momentum and conjugate gradients to its root, Newton's method one.",
        "Goodfellow, Bengio & Courville 2016, chapter 8; Martens' lectures on optimisation; Nesterov 2004",
        "lamina.recipes.convergence",
        5,
        4.0,
    ),
    Entry(
        "optimisers",
        "No optimiser is best everywhere: on four small problems, each with the same passes over the data and the same "
        "number of trials for its setting, they are compared by loss and by what they cost.",
        "Goodfellow, Bengio & Courville 2016, chapter 8; Schmidt, Schneider & Hennig 2021 (how to compare)",
        "lamina.recipes.optimisers",
        5,
        45.0,
    ),
    Entry(
        "martens2010",
        "Deep autoencoders can be trained from a sparse random start, without pre-training; with curvature in far "
        "fewer updates.",
        "Martens 2010; Sutskever, Martens, Dahl & Hinton 2013; Martens & Grosse 2015; networks of Hinton & "
        "Salakhutdinov 2006",
        "lamina.recipes.martens2010",
        2,
        395.0,
    ),
    Entry(
        "hinton2006",
        "A deep autoencoder that starts as a stack of restricted Boltzmann machines keeps far more of a picture in 30 "
        "numbers, or in 2, than as many principal components.",
        "Hinton & Salakhutdinov 2006",
        "lamina.recipes.hinton2006",
        1,
        40.0,
    ),
    Entry(
        "larochelle2009",
        "Deep networks of logistic units do better when their layers are first trained one by one without targets: by "
        "autoencoders, and more so by restricted Boltzmann machines.",
        "Larochelle, Bengio, Louradour & Lamblin 2009, section 6; Hinton, Osindero & Teh 2006; Bengio et al. 2006",
        "lamina.recipes.larochelle2009",
        2,
        130.0,
    ),
    Entry(
        "vincent2008",
        "On eight sets of pictures pre-trained deep networks err less than support vector machines on most; with "
        "denoising autoencoders about as little as with restricted Boltzmann machines.",
        "Vincent, Larochelle, Bengio & Manzagol 2008; Larochelle, Erhan, Courville, Bergstra & Bengio 2007",
        "lamina.recipes.vincent2008",
        2,
        330.0,
    ),
    Entry(
        "salakhutdinov2008",
        "More sweeps of contrastive divergence give machines of higher likelihood on MNIST, by annealed importance "
        "sampling; a deep belief network's bound can be estimated the same way.",
        "Salakhutdinov & Murray 2008",
        "lamina.recipes.salakhutdinov2008",
        1,
        90.0,
    ),
)


def find_entry(name: str) -> Entry:
    """Return the recipe of that name.

    Args:
        name: As typed; case and underscores do not matter.

    Raises:
        ConfigError: If there is none, naming the nearest.
    """
    wanted = name.strip().casefold().replace("_", "-")
    for entry in ENTRIES:
        if entry.name == wanted:
            return entry
    known = [entry.name for entry in ENTRIES]
    raise ConfigError(
        f'there is no recipe "{shown(name)}"{nearest(name, known)}',
        where="lamina reproduce",
        mend=f"give one of {', '.join(known)}",
    )
