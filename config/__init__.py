"""Settings: sections, defaults and where they come from."""

from config.image import ImageSettings
from config.kafka import Delivery, KafkaSettings, LaneSettings, MetricsSettings, TopicSettings
from config.settings import Settings, load_settings
from config.sources import SettingsError
from config.text import TextSettings

__all__ = [
    "Delivery",
    "ImageSettings",
    "KafkaSettings",
    "LaneSettings",
    "MetricsSettings",
    "Settings",
    "SettingsError",
    "TextSettings",
    "TopicSettings",
    "load_settings",
]
