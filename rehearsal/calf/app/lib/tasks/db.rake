# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

OLDEST_SCHEMA = 20_260_110_000_000

namespace :db do
  task pre_migration_check: :load_config do
    connection = ActiveRecord::Base.connection
    abort "PostgreSQL 14 or newer is needed, this is #{connection.select_value("SHOW server_version")}." if connection.database_version < 140_000

    schema = connection.pool.migration_context.current_version
    if ENV["SKIP_POST_DEPLOYMENT_MIGRATIONS"].present? && schema < OLDEST_SCHEMA
      abort "Zero-downtime migrations start at version 1.0.0. Unset SKIP_POST_DEPLOYMENT_MIGRATIONS, or update in two steps."
    end
  end
end

Rake::Task["db:migrate"].enhance(["db:pre_migration_check"])
