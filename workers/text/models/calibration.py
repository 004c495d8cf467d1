"""Texts of our own that an export is calibrated and checked on, of many kinds and lengths."""

from typing import Final

CALIBRATION_TEXTS: Final = (
    "Goal! What a strike in the last minute of the match.",
    "Shares fell sharply after the bank reported a loss for the third quarter of the year.",
    "no",
    "ok!!! 😂😂😂",
    "The river has burst its banks; families on Mill Lane are being moved to the school hall tonight, and "
    "the council asks for blankets, drinking water and volunteers with boats.",
    "Researchers say the new telescope has found water vapour in the air of a planet 120 light years away.",
    "RT @someone: #breaking fire near the old station, stay away http://t.co/x1y2z3 #news",
    "I can't believe how kind everyone was today, thank you all so much!!! #grateful",
    "World news, politics and international affairs",
    "sci tech",
    "The tenant shall not assign this agreement or sublet the premises without the prior written consent of "
    "the landlord, which shall not be unreasonably withheld; any assignment made without it is void (§ 14).",
    "Patient, 64, presents with dyspnoea and chest pain for 3 days; ECG normal, troponin 0.02 ng/mL.",
    "def load(path): return json.load(open(path))  # TODO: close the file",
    "WASHINGTON (AP) -- The president met #39;senior leaders#39; on Tuesday to discuss a cease-fire & trade.",
    "Der Zug nach Hamburg hat wegen eines Sturms zwei Stunden Verspätung. ¿Dónde está la estación?",
    "駅はどこですか。今日はとても暑いです。",
    "Anyone else feel like Monday lasts a week? so tired, so done, need coffee and a hug 😭",
    "The committee will meet again on Monday to discuss the budget and the proposed changes to the law. " * 6,
)
"""The ranges of activations are taken from these."""

CHECK_TEXTS: Final = (
    "The keeper saves the penalty and the stadium goes wild!",
    "Oil prices climbed above 90 dollars a barrel on Thursday as supply worries returned to the market.",
    "yes",
    "lol 🤣 what??",
    "An earthquake of magnitude 6.1 shook the coast early this morning; bridges are closed and thousands of "
    "homes have no power, the rescue service says, while aftershocks go on.",
    "A new vaccine against malaria halves the number of cases among children, a trial in Africa shows.",
    "@friend omg did you see that?! #unreal https://example.org/a/b",
    "Sports news, games, teams and players",
    "The court dismissed the appeal and upheld the order for costs in full, save for the expert's fees.",
    "Voici la liste des ingrédients : farine, beurre, sucre. Где находится вокзал?",
    "After years of delays the new line opened on Friday, and trains now run every ten minutes until 1 a.m. "
    * 5,
)
"""Others, on which the result is compared with torch."""
