"""The label sets of the text benchmarks; `python benchmarks/text_label_sets.py DIR` writes them as files."""

import sys
from pathlib import Path
from typing import NamedTuple

import yaml

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Evaluation data, beside the repository; not shipped."""


class Benchmark(NamedTuple):
    """A collection and what is said of its labels.

    Attributes:
        file: under DATA.
        field: holds the true label.
        labels: (name, further phrases) by true label.
        across: the field of groups to learn from some and judge on others.
    """

    file: str
    field: str
    labels: dict[str, tuple[str, ...]]
    across: str | None = None


SCIENCE = {
    "social_science": "society, inequality, politics and human behaviour in groups",
    "anthropology": "human origins, ancient cultures, archaeology",
    "astronomy": "planets, stars, galaxies and space",
    "biology": "organisms, cells, genes and evolution",
    "environment": "climate change, pollution, ecosystems and conservation",
    "neuroscience": "the brain, neurons and the nervous system",
    "animal_science": "animals and their behaviour",
    "paleontology": "dinosaurs, fossils and extinct species",
    "health": "healthy living, diet, exercise and public health",
    "chemistry": "chemical reactions, molecules and materials",
    "cancer": "tumours, cancer treatment and oncology",
    "psychology": "mind, emotion, personality and mental health",
    "epidemiology": "spread of disease, infections, vaccines, outbreaks",
    "physics": "particles, quantum mechanics, matter and energy",
    "medicine": "treatments, drugs, clinical trials and doctors",
    "engineering": "machines, devices, robotics, energy technology",
    "earth_science": "oceans, atmosphere, weather and climate of the earth",
    "geology": "rocks, volcanoes, earthquakes and plate tectonics",
    "nanoscience": "nanoparticles, nanotubes, graphene and nanotechnology",
    "computer_science": "computers, algorithms, artificial intelligence and software",
}

NEWSGROUPS = {
    "alt.atheism": "atheism, arguments against the existence of god",
    "comp.sys.mac.hardware": "Apple Macintosh hardware",
    "rec.sport.baseball": "baseball teams, players and games",
    "talk.religion.misc": "religion, cults, bible and morality",
    "sci.electronics": "electronics, circuits, components",
    "misc.forsale": "things for sale, prices, offers, shipping",
    "comp.graphics": "computer graphics, images, rendering and file formats",
    "rec.autos": "cars, engines, dealers",
    "sci.space": "space, NASA, orbit, shuttle, moon",
    "talk.politics.mideast": "Israel, Arabs, Turkey, Armenia, middle east politics",
    "rec.motorcycles": "motorcycles, bikes, riding, helmets",
    "comp.os.ms-windows.misc": "Microsoft Windows, drivers, DOS",
    "comp.sys.ibm.pc.hardware": "PC hardware, disks, controllers, cards, motherboards",
    "talk.politics.misc": "US politics, government, taxes, gay rights, Clinton",
    "sci.med": "medicine, disease, doctors, treatments",
    "sci.crypt": "cryptography, encryption, clipper chip, keys, privacy",
    "talk.politics.guns": "guns, weapons, gun control, Waco",
    "comp.windows.x": "X Window System, Motif, xterm, widgets, Unix",
    "soc.religion.christian": "Christianity, church, Jesus, faith",
    "rec.sport.hockey": "ice hockey, NHL teams, players, games",
}

BENCHMARKS = {
    "ag_news": Benchmark(
        "ag_news/posts.jsonl",
        "label",
        {
            "world": (
                "international news about politics, governments, war, diplomacy and conflicts in other "
                "countries",
            ),
            "sports": ("news about sports, games, teams, players, matches and championships",),
            "business": (
                "news about companies, the economy, stock markets, profits, oil prices and finance",
            ),
            "sci_tech": ("news about science, technology, computers, software, the internet and space",),
        },
    ),
    "tweet_emotion": Benchmark(
        "tweet_emotion/posts.jsonl",
        "label",
        {
            "anger": ("an angry, furious, outraged or annoyed message",),
            "joy": ("a joyful, happy, amused or delighted message",),
            "optimism": ("an optimistic, hopeful, encouraging or motivational message",),
            "sadness": ("a sad, depressed, disappointed or grieving message",),
        },
    ),
    "crisis_kinds": Benchmark(
        "crisis_events/posts.jsonl",
        "label",
        {
            "affected_people": (
                "people affected: deaths, injured, missing, found or displaced people, evacuations",
            ),
            "infrastructure": (
                "damage to infrastructure and utilities: roads, bridges, buildings, power, water supply",
            ),
            "donations_volunteering": (
                "donations of money, goods or services, and volunteers needed or offered",
            ),
            "caution_advice": ("warnings, caution and advice: what to do, alerts, tips",),
            "sympathy": ("sympathy and emotional support: prayers, thoughts, condolences, gratitude",),
            "other_useful": ("other useful information about the event",),
        },
        "event",
    ),
    "crisis_kinds_phrasings": Benchmark(
        "crisis_events/posts.jsonl",
        "label",
        {
            "affected_people": ("people died", "people are missing", "families were evacuated"),
            "infrastructure": ("houses destroyed", "roads closed", "power outage"),
            "donations_volunteering": ("please donate to the relief fund", "volunteers needed"),
            "caution_advice": ("warning issued, stay safe", "call this emergency number"),
            "sympathy": ("praying for the victims", "our thoughts are with you"),
            "other_useful": ("news report about the disaster", "latest update on the situation"),
        },
        "event",
    ),
    "disaster_tweets": Benchmark(
        "disaster_tweets/posts.jsonl",
        "label",
        {
            "disaster": (
                "a report of a real disaster or emergency: fire, flood, earthquake, crash, attack, "
                "casualties",
            ),
            "other": ("everyday chatter, jokes, opinions, music, games and figures of speech",),
        },
    ),
    "reddit_topics": Benchmark(
        "reddit_science/posts.jsonl", "label", {name: (text,) for name, text in SCIENCE.items()}
    ),
    "reddit_groups": Benchmark(
        "reddit_science/posts.jsonl",
        "group",
        {
            "physical": ("physics, chemistry, astronomy, geology, earth and environment",),
            "life": ("biology, animals, brain, fossils, cancer",),
            "social": ("society, psychology, anthropology, human behaviour",),
            "applied": ("medicine, health, engineering, computers, nanotechnology, epidemiology",),
        },
    ),
    "newsgroups": Benchmark(
        "newsgroups/posts.jsonl", "label", {name: (text,) for name, text in NEWSGROUPS.items()}
    ),
    "bbc_news": Benchmark(
        "bbc_news/documents.jsonl",
        "label",
        {
            "business": ("companies, economy, markets and finance",),
            "entertainment": ("film, music, television, celebrities and awards",),
            "politics": ("British politics, parliament, parties, ministers and elections",),
            "sport": ("football, rugby, tennis, cricket, athletics",),
            "tech": ("technology, computers, internet, mobile phones and games",),
        },
    ),
}


def write(folder: Path) -> None:
    """Write each label set as a file that `feedsight eval --labels` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, benchmark in BENCHMARKS.items():
        labels = [
            {"name": label, "description": more[0], "phrasings": list(more[1:])} if more else {"name": label}
            for label, more in benchmark.labels.items()
        ]
        text = yaml.safe_dump({"name": name, "labels": labels}, sort_keys=False, allow_unicode=True)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
