-- What the roles of roles.sql may do, as the database's owner, after every migrate:
--     psql "$OWNER_URL" -f deploy/postgresql/grants.sql
-- One transaction: the application, which runs meanwhile, lacks nothing at any moment.
-- Each table is declared here. One that is not is printed, and may only be read and added
-- to, by the application alone: history that nobody thought of is safe.
-- tests/site/test_database_roles.py walks every table.
\set ON_ERROR_STOP on
BEGIN;

CREATE TEMPORARY TABLE declared (name text PRIMARY KEY, may text NOT NULL) ON COMMIT DROP;
INSERT INTO declared SELECT name, 'SELECT' FROM unnest(ARRAY[
    'django_migrations'
]) AS name;
-- The ledger and what else is history: rows are only added.
INSERT INTO declared SELECT name, 'SELECT, INSERT' FROM unnest(ARRAY[
    'flags_flagchange', 'flags_launchdecision',
    'instances_invoice', 'instances_invoiceitem', 'instances_invoicedmonth',
    'inventory_cardcheck', 'inventory_cardevent', 'inventory_cardreport'
]) AS name;
-- What ends once, and stays; triggers say which change is the end.
INSERT INTO declared SELECT name, 'SELECT, INSERT, UPDATE' FROM unnest(ARRAY[
    'flags_flagproposal', 'instances_trial', 'instances_usageinterval',
    'inventory_addressclaim', 'inventory_cardclaim', 'inventory_nodeclaim'
]) AS name;
-- Trails, deleted when they are old.
INSERT INTO declared SELECT name, 'SELECT, INSERT, DELETE' FROM unnest(ARRAY[
    'django_admin_log', 'instances_accessevent', 'instances_apichange',
    'instances_refuseddemand'
]) AS name;
INSERT INTO declared SELECT name, 'SELECT, INSERT, UPDATE, DELETE' FROM unnest(ARRAY[
    'account_emailaddress', 'account_emailconfirmation',
    'auth_group', 'auth_group_permissions', 'auth_permission',
    'auth_user', 'auth_user_groups', 'auth_user_user_permissions',
    'django_content_type', 'django_q_ormq', 'django_q_schedule', 'django_q_task',
    'django_session', 'mfa_authenticator', 'waffle_sample', 'waffle_switch',
    'flags_beta', 'flags_betaenrolment', 'flags_flag', 'flags_flag_accounts',
    'flags_flag_groups', 'flags_flag_users', 'flags_readinessthreshold',
    'instances_account', 'instances_account_members', 'instances_apitoken',
    'instances_event', 'instances_firewall', 'instances_firewalldevice',
    'instances_gpuquota', 'instances_heartbeat', 'instances_hostimage',
    'instances_image', 'instances_instance', 'instances_instancefeedback',
    'instances_job', 'instances_jobstep', 'instances_launchnotice',
    'instances_pendingresize', 'instances_placementgroup', 'instances_placementmember',
    'instances_plan', 'instances_regionprice', 'instances_reportmail',
    'instances_reservation', 'instances_seedsettings', 'instances_sshkey',
    'instances_tag', 'instances_tokenrate', 'instances_trial_plans',
    'instances_waitlistentry', 'instances_webhook', 'instances_webhookdelivery',
    'instances_workduration',
    'inventory_addresspool', 'inventory_alert', 'inventory_card',
    'inventory_cardfunction', 'inventory_checkimage', 'inventory_discrepancy',
    'inventory_gpumodel', 'inventory_guestsetup', 'inventory_host', 'inventory_hostcpu',
    'inventory_hostoutage', 'inventory_numanode', 'inventory_pciid', 'inventory_region'
]) AS name;

-- A table that a release has not yet, or no more, is passed over.
CREATE TEMPORARY VIEW present AS
    SELECT relname AS name, declared.may
      FROM pg_class LEFT JOIN declared ON declared.name = relname
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f');
SELECT name || ' is not declared in grants.sql' FROM present WHERE may IS NULL ORDER BY 1;

GRANT USAGE ON SCHEMA public TO gpucloud_app, gpucloud_reports;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM gpucloud_app, gpucloud_reports;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM gpucloud_app;

-- The application: rows, nothing else. Never TRUNCATE, and never TRIGGER.
SELECT format('GRANT %s ON %I TO gpucloud_app', coalesce(may, 'SELECT, INSERT'), name)
  FROM present
\gexec
-- What a trail refers to may go; an attempt and a request end.
GRANT UPDATE (user_id, kind) ON instances_accessevent TO gpucloud_app;
GRANT UPDATE (token_id, status, object_id) ON instances_apichange TO gpucloud_app;
GRANT UPDATE (job_id) ON instances_refuseddemand TO gpucloud_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO gpucloud_app;
-- A guest that is adopted keeps its number.
GRANT UPDATE ON SEQUENCE instances_instance_id_seq TO gpucloud_app;
-- Until this file is run again the application may use what a migration adds: by a trigger
-- even the old release does.
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO gpucloud_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO gpucloud_app;

-- Reports: all rows, but nothing by which one could log in, or find out a customer's secret.
SELECT format('GRANT SELECT ON %I TO gpucloud_reports', name)
  FROM present WHERE may IS NOT NULL AND name NOT IN (
        'account_emailconfirmation', 'django_session', 'django_q_ormq', 'django_q_task',
        'mfa_authenticator', 'instances_accessevent', 'instances_apitoken',
        'instances_seedsettings', 'instances_webhook',
        'auth_user', 'instances_instance', 'instances_reservation'
 )
\gexec
-- Digests of what was asked for: whoever can guess a short user_data could try it on them.
SELECT format('GRANT SELECT (%s) ON %I TO gpucloud_reports',
              string_agg(quote_ident(column_name), ', '), table_name)
  FROM information_schema.columns
 WHERE table_schema = 'public'
   AND table_name IN ('auth_user', 'instances_instance', 'instances_reservation')
   AND column_name NOT IN ('password', 'metadata_digest', 'request_digest')
 GROUP BY table_name
\gexec

DROP VIEW present;
COMMIT;
