-- The database's three roles, as a superuser, once; again changes nothing.
--     sudo -u postgres psql -f deploy/postgresql/roles.sql
--     sudo -u postgres psql -c '\password gpucloud_owner'     and so for the two others
-- What each may do with the tables is in grants.sql, which the owner runs after every migrate.
\set ON_ERROR_STOP on
\if :{?owner}
\else
    \set owner gpucloud_owner
\endif
\if :{?database}
\else
    \set database gpucloud
\endif

-- gpucloud_app serves and works, gpucloud_reports only reads.
SELECT format('CREATE ROLE %I LOGIN', name)
  FROM unnest(ARRAY[:'owner', 'gpucloud_app', 'gpucloud_reports']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec
SELECT format('CREATE DATABASE %I OWNER %I ENCODING ''UTF8'' TEMPLATE template0', :'database', :'owner')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database')
\gexec

-- Not even temporary tables: nobody but the owner makes anything.
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO gpucloud_app, gpucloud_reports;

-- The application asks for these at its start, which a pooler keeps to itself.
ALTER ROLE gpucloud_app IN DATABASE :"database" SET plan_cache_mode = force_generic_plan;
ALTER ROLE gpucloud_app IN DATABASE :"database" SET jit = off;
ALTER ROLE gpucloud_reports IN DATABASE :"database" SET default_transaction_read_only = on;
