"""How the staff site looks: what unfold asks of the settings."""

from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

UNFOLD = {
    "SITE_TITLE": "gpucloud",
    "SITE_HEADER": "gpucloud",
    "SITE_SUBHEADER": _("GPU control plane"),
    "SITE_SYMBOL": "memory",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": "gpucloud_site.static_files.icon",
        }
    ],
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "ACCOUNT": {
        "navigation": [
            {
                "title": _("Change password"),
                "link": reverse_lazy("admin:password_change"),
            },
            {
                "title": _("Second factor"),
                "link": reverse_lazy("admin:second-factor"),
            },
        ],
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "gpucloud_site.navigation.sidebar",
    },
    "STYLES": ["gpucloud_site.static_files.stylesheet"],
    "SCRIPTS": ["gpucloud_site.static_files.script"],
}
