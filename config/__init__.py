"""Settings: sections, defaults and where they come from."""

from config.image import ImageSettings
from config.kafka import Delivery, KafkaSettings, LaneSettings, MetricsSettings, TopicSettings
from config.learn import LearnSettings
from config.settings import Settings, load_settings
from config.sources import SettingsError
from config.text import TextSettings
from config.watch import BurstSettings, DriftSettings

__all__ = [
    "BurstSettings",
    "Delivery",
    "DriftSettings",
    "ImageSettings",
    "KafkaSettings",
    "LaneSettings",
    "LearnSettings",
    "MetricsSettings",
    "Settings",
    "SettingsError",
    "TextSettings",
    "TopicSettings",
    "load_settings",
]
