"""Every setting of the site, read once from the environment; a bad one stops the start.

docs/settings.md lists the variables for operators.
"""

from pathlib import Path

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.utils.translation import gettext_lazy as _

from gpucloud_site import environment, logs
from gpucloud_site.look import UNFOLD as UNFOLD

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = environment.required(
    "GPUCLOUD_SECRET_KEY", "50 or more random characters, kept secret"
)
# Keys of before: what was sealed or signed under them can still be read.
SECRET_KEY_FALLBACKS = environment.list_of("GPUCLOUD_SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = environment.words(
    "GPUCLOUD_ALLOWED_HOSTS", "the site's host names, separated by commas"
)
DEBUG = False
HTTPS = environment.boolean("GPUCLOUD_HTTPS", default=True)
# A lab may use hosts without KVM, over libvirt's open TCP port, and hand a released
# card on without cleaning it. Nothing of that is acceptable in production.
LAB = environment.boolean("GPUCLOUD_LAB", default=False)
LAB_SKIPS_SANITISING = LAB and environment.boolean(
    "GPUCLOUD_LAB_SKIPS_SANITISING", default=False
)
# A folder of simulated hosts (tests/simulated_hosts), which answer at simulated:///NAME.
SIMULATED_HOSTS = environment.lab_text(
    "GPUCLOUD_SIMULATED_HOSTS", "hosts are simulated", is_lab=LAB
)
# What every region of a lab claims besides, for foreign tests that pick a region by it.
CLAIMED_CAPABILITIES = [
    word.strip()
    for word in environment.lab_text(
        "GPUCLOUD_CLAIMED_CAPABILITIES", "regions claim what they have not", is_lab=LAB
    ).split(",")
    if word.strip()
]
# How often each host is compared with the rows; three cycles unseen and it sells nothing.
RECONCILE_CYCLE_S = environment.whole_number(
    "GPUCLOUD_RECONCILE_CYCLE_S", default=30, minimum=1
)
# How long a guest may take to power off by ACPI before the plug is pulled.
SHUTDOWN_GRACE_S = environment.whole_number(
    "GPUCLOUD_SHUTDOWN_GRACE_S", default=90, minimum=0
)
# How far ahead capacity may be held without being used.
RESERVATION_MAX_S = environment.whole_number(
    "GPUCLOUD_RESERVATION_MAX_S", default=7 * 24 * 3600, minimum=60
)
# For how long what became free is held for who waited for it, and how long one may wait.
WAITLIST_HOLD_S = environment.whole_number(
    "GPUCLOUD_WAITLIST_HOLD_S", default=1800, minimum=60
)
WAITLIST_MAX_S = environment.whole_number(
    "GPUCLOUD_WAITLIST_MAX_S", default=30 * 24 * 3600, minimum=60
)
# How many placement groups an account may have, and how many Linodes one of them.
PLACEMENT_GROUPS_MAX = environment.whole_number(
    "GPUCLOUD_PLACEMENT_GROUPS_MAX", default=100, minimum=0
)
PLACEMENT_GROUP_MEMBERS_MAX = environment.whole_number(
    "GPUCLOUD_PLACEMENT_GROUP_MEMBERS_MAX", default=10, minimum=1
)
CARDS_CLEANED_PER_HOST = environment.whole_number(
    "GPUCLOUD_CARDS_CLEANED_PER_HOST", default=2, minimum=1
)
# Plans without cards take a GPU host when no other host is left, or not even then.
PLAIN_PLANS_ON_GPU_HOSTS = environment.one_of(
    "GPUCLOUD_PLAIN_PLANS_ON_GPU_HOSTS", ("last", "never")
)
# More of a region's cards than this quarantined within the window: a person is asked.
QUARANTINE_SHARE_PERCENT = environment.whole_number(
    "GPUCLOUD_QUARANTINE_SHARE_PERCENT", default=10
)
QUARANTINE_WINDOW_S = environment.whole_number(
    "GPUCLOUD_QUARANTINE_WINDOW_S", default=3600, minimum=60
)
# Whoever changes a flag needs another person to approve it; a kill never does.
FLAG_CHANGES_NEED_TWO = environment.boolean(
    "GPUCLOUD_FLAG_CHANGES_NEED_TWO", default=False
)
# Customers see how many more of a plan fit; else only whether one does.
API_SHOWS_COUNTS = environment.boolean("GPUCLOUD_API_SHOWS_COUNTS", default=False)
# Requests of one API token within a window; 0 counts and refuses nothing.
API_RATE_LIMIT = environment.whole_number("GPUCLOUD_API_RATE_LIMIT", default=800)
API_RATE_WINDOW_S = environment.whole_number(
    "GPUCLOUD_API_RATE_WINDOW_S", default=60, minimum=1
)
# Images of the catalogue: files that staff put there, and this machine's copies.
IMAGE_FOLDER = environment.text(
    "GPUCLOUD_IMAGE_FOLDER", default="/var/lib/gpucloud/images"
)
IMAGE_MAX_MIB = environment.whole_number(
    "GPUCLOUD_IMAGE_MAX_MIB", default=20480, minimum=1
)
IMAGE_FETCH_TIMEOUT_S = environment.whole_number(
    "GPUCLOUD_IMAGE_FETCH_TIMEOUT_S", default=600, minimum=1
)
# An address inside our own network is for development alone.
IMAGE_FETCH_PRIVATE = LAB and environment.boolean(
    "GPUCLOUD_IMAGE_FETCH_PRIVATE", default=False
)
# Webhooks. How long a receiver may take; how many workers send at once, so that others are
# left for launches; after how long what was not taken is given up.
WEBHOOK_TIMEOUT_S = environment.whole_number(
    "GPUCLOUD_WEBHOOK_TIMEOUT_S", default=10, minimum=1
)
WEBHOOKS_AT_ONCE = environment.whole_number(
    "GPUCLOUD_WEBHOOKS_AT_ONCE", default=2, minimum=1
)
WEBHOOK_DEADLINE_S = environment.whole_number(
    "GPUCLOUD_WEBHOOK_DEADLINE_S", default=24 * 3600, minimum=60
)
# Plain http and addresses inside our own network are for development alone.
WEBHOOKS_PRIVATE = LAB and environment.boolean(
    "GPUCLOUD_WEBHOOKS_PRIVATE", default=False
)
# Metrics and the details of health: who may read them beside the token's holder, who comes
# straight from these networks and through no proxy.
METRICS_TOKEN = environment.secret("GPUCLOUD_METRICS_TOKEN", minimum=32)
METRICS_NETWORKS = environment.networks(
    "GPUCLOUD_METRICS_NETWORKS", default="127.0.0.0/8,::1/128"
)
_HOST = ALLOWED_HOSTS[0].strip(".*") or "localhost"
# Mail, if there is a server; the reports of each week go to these addresses.
_MAIL = environment.mail_server("GPUCLOUD_MAIL_URL")
EMAIL_HOST = _MAIL.get("EMAIL_HOST", "")
EMAIL_PORT = _MAIL.get("EMAIL_PORT") or 25
EMAIL_HOST_USER = _MAIL.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = _MAIL.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = _MAIL.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _MAIL.get("EMAIL_USE_SSL", False)
# For each answer of the server.
EMAIL_TIMEOUT = environment.whole_number(
    "GPUCLOUD_MAIL_TIMEOUT_S", default=10, minimum=1
)
DEFAULT_FROM_EMAIL = environment.text("GPUCLOUD_MAIL_FROM", default=f"gpucloud@{_HOST}")
REPORT_MAIL_TO = environment.listed("GPUCLOUD_REPORT_MAIL_TO")
# What links in mails begin with.
SITE_URL = environment.text(
    "GPUCLOUD_SITE_URL",
    default=f"http{'s' if HTTPS else ''}://{_HOST}",
).rstrip("/")
_OPTIONS = {
    "application_name": "gpucloud",
    "connect_timeout": 5,
    # The claim's statements are prepared; Django's own never are. PostgreSQL would
    # plan most of them anew at every run, which costs more than running them.
    "prepare_threshold": 5,
    "options": "-c plan_cache_mode=force_generic_plan -c jit=off",
}
DATABASES = {
    "default": environment.postgresql("DATABASE_URL", _OPTIONS),
}
# A streaming replica, which reports read instead (inventory/replica.py).
if environment.text("GPUCLOUD_REPLICA_URL", default=""):
    DATABASES["replica"] = environment.postgresql("GPUCLOUD_REPLICA_URL", _OPTIONS)
DATABASE_ROUTERS = ["inventory.replica.ReportsRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "gpucloud_site",
    # Our own admin site takes the default's place: unfold's usual configuration would.
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "gpucloud_site.admin_app.StaffAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "waffle",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "django_q",
    "csp",
    "inventory",
    "instances",
    "flags",
]
MIDDLEWARE = [
    # First: whatever goes wrong in the others is logged with the request's id.
    "gpucloud_site.request_ids.request_ids",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "gpucloud_site.languages.speak_the_readers",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "gpucloud_site.access.sessions.end_what_is_over",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
]
ROOT_URLCONF = "gpucloud_site.urls"
WSGI_APPLICATION = "gpucloud_site.wsgi.application"
# The API accepts a path with and without its slash; a redirect would turn POST into GET.
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = ["gpucloud_site.formats"]
# `make messages` writes there; docs/translating.md tells how a language is added.
LOCALE_PATHS = [BASE_DIR / "locale"]
# English stands in the code; other languages are those that somebody translated to.
LANGUAGES = [
    ("en", "English"),
    *(
        (folder.name, folder.name)
        for folder in sorted(LOCALE_PATHS[0].glob("*"))
        if folder.is_dir()
    ),
]

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedStaticFilesStorage",
    },
}

AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": f"django.contrib.auth.password_validation.{name}",
        "OPTIONS": options,
    }
    for name, options in (
        ("UserAttributeSimilarityValidator", {}),
        ("MinimumLengthValidator", {"min_length": 12}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    )
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
AUTHENTICATION_BACKENDS = ["gpucloud_site.access.backend.StaffBackend"]
# Staff without a second factor are led to set one up before they see anything.
REQUIRE_SECOND_FACTOR = environment.boolean(
    "GPUCLOUD_REQUIRE_SECOND_FACTOR", default=not LAB
)
# So many failed logins of one name, and of one address, within a window; then none of it
# is judged until the oldest of them has left the window.
LOGIN_FAILURES = environment.whole_number(
    "GPUCLOUD_LOGIN_FAILURES", default=5, minimum=1
)
LOGIN_FAILURES_PER_ADDRESS = environment.whole_number(
    "GPUCLOUD_LOGIN_FAILURES_PER_ADDRESS", default=20, minimum=1
)
LOGIN_WINDOW_S = environment.whole_number(
    "GPUCLOUD_LOGIN_WINDOW_S", default=60, minimum=1
)
# How many proxies of ours append to X-Forwarded-For.
TRUSTED_PROXIES = environment.whole_number(
    "GPUCLOUD_TRUSTED_PROXIES", default=1 if HTTPS else 0
)
# Of django-allauth its login in stages and its second factors are used, and no page of it
# but the one that asks for the code. It throttles in each process; ours in the database.
ACCOUNT_ADAPTER = "gpucloud_site.access.allauth_adapters.StaffAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_TIMEOUT = 300
ACCOUNT_RATE_LIMITS = False
MFA_ADAPTER = "gpucloud_site.access.allauth_adapters.SealedFactors"
MFA_FORMS = {"authenticate": "gpucloud_site.access.code_form.CodeForm"}
MFA_TOTP_ISSUER = "gpucloud"
# A phone's clock may be 30 s off.
MFA_TOTP_TOLERANCE = 1

SESSION_ENGINE = "gpucloud_site.access.session_store"
# A session ends after so long without a request by its person, and after so long anyway.
SESSION_COOKIE_AGE = 60 * environment.whole_number(
    "GPUCLOUD_SESSION_IDLE_MINUTES", default=120, minimum=1
)
SESSION_MAX_S = 3600 * environment.whole_number(
    "GPUCLOUD_SESSION_MAX_HOURS", default=12, minimum=1
)
# Such a cookie no neighbour of a parent domain can set, nor one without TLS.
_COOKIE_PREFIX = "__Host-" if HTTPS else ""
SESSION_COOKIE_NAME = f"{_COOKIE_PREFIX}sessionid"
CSRF_COOKIE_NAME = f"{_COOKIE_PREFIX}csrftoken"
SESSION_COOKIE_SECURE = HTTPS
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
# Probes and scrapers come straight to the process, not through the proxy.
SECURE_REDIRECT_EXEMPT = [r"^health/(live|ready)$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        # Unfold's Alpine.js evaluates expressions, its charts set inline styles.
        "script-src": [SELF, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    # A flag cached in one process stays alive there after it was killed in another.
    "uncached": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
}
WAFFLE_FLAG_MODEL = "flags.Flag"
WAFFLE_CACHE_NAME = "uncached"
WAFFLE_FLAG_DEFAULT = False
WAFFLE_OVERRIDE = False

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["instances.api.authentication.BearerToken"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "instances.api.errors.handle",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": False,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "gpucloud",
    "DESCRIPTION": "Virtual machines with whole GPUs, in the words of Linode API v4.",
    "VERSION": "4",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/v4",
    # A schema is described by instances.api.shapes, an operation by @operation.
    "DISABLE_DOCSTRING_DESCRIPTIONS": True,
    "PREPROCESSING_HOOKS": ["instances.api.openapi.document.one_path_each"],
    "POSTPROCESSING_HOOKS": ["instances.api.openapi.document.add_components"],
}

# For how many days ended work and what was observed is kept; see instances/retention.py.
KEEP_JOBS_DAYS = environment.whole_number(
    "GPUCLOUD_KEEP_JOBS_DAYS", default=90, minimum=1
)
KEEP_EVENTS_DAYS = environment.whole_number(
    "GPUCLOUD_KEEP_EVENTS_DAYS", default=90, minimum=1
)
KEEP_WEBHOOK_DELIVERIES_DAYS = environment.whole_number(
    "GPUCLOUD_KEEP_WEBHOOK_DELIVERIES_DAYS", default=30, minimum=1
)
KEEP_OBSERVATIONS_DAYS = environment.whole_number(
    "GPUCLOUD_KEEP_OBSERVATIONS_DAYS", default=90, minimum=1
)
KEEP_OUTAGES_DAYS = environment.whole_number(
    "GPUCLOUD_KEEP_OUTAGES_DAYS", default=1100, minimum=1
)
KEEP_API_CHANGES_DAYS = environment.whole_number(
    "GPUCLOUD_KEEP_API_CHANGES_DAYS", default=400, minimum=1
)
KEEP_REFUSALS_DAYS = environment.whole_number(
    "GPUCLOUD_KEEP_REFUSALS_DAYS", default=400, minimum=1
)
KEEP_ENDED_TOKENS_DAYS = environment.whole_number(
    "GPUCLOUD_KEEP_ENDED_TOKENS_DAYS", default=400, minimum=1
)
KEEP_ADMIN_LOG_DAYS = environment.whole_number(
    "GPUCLOUD_KEEP_ADMIN_LOG_DAYS", default=1100, minimum=1
)
KEEP_TASKS_DAYS = environment.whole_number(
    "GPUCLOUD_KEEP_TASKS_DAYS", default=14, minimum=1
)
JOB_TIMEOUT_S = environment.whole_number("GPUCLOUD_JOB_TIMEOUT_S", default=900)
# A part of a cluster that is silent for longer, or a task that waits for longer beside an
# idle worker, has the cluster restarted; a database that is away for 15 s must not.
CLUSTER_PATIENCE_S = environment.whole_number(
    "GPUCLOUD_CLUSTER_PATIENCE_S", default=30, minimum=2 if LAB else 16
)
# How long workers that are told to end may go on with the step that they are at.
STOP_GRACE_S = environment.whole_number("GPUCLOUD_STOP_GRACE_S", default=20)
WORKERS = environment.whole_number("GPUCLOUD_WORKERS", default=4, minimum=1)
Q_CLUSTER = {
    "name": "gpucloud",
    "workers": WORKERS,
    "timeout": JOB_TIMEOUT_S,
    # Below twice the timeout a long job is handed to a second worker while it runs.
    "retry": 2 * JOB_TIMEOUT_S + 60,
    "orm": "default",
    "broker_class": "instances.broker.NotifyingBroker",
    "poll": 0,
    "bulk": 1,
    # Our job rows hold the retries; django-q2 must forget a task once it has run.
    "ack_failures": True,
    "max_attempts": 1,
    # Successes are not kept: our rows tell, and to keep 1000 is to lock them all each time.
    "save_limit": -1,
    "catch_up": False,
    "label": _("Task queue"),
    "cache": "default",
}

LOG_FORMAT = environment.one_of("GPUCLOUD_LOG_FORMAT", ("text", "json"))
LOGGING = logs.configuration(LOG_FORMAT)
