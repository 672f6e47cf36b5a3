# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# The migrations are few: the schema is what they make of an empty database.
migrations = Dir[File.expand_path("{migrate,post_migrate}/*.rb", __dir__)].sort_by { |file| File.basename(file) }

ActiveRecord::Schema[7.2].define(version: migrations.last[/\d{14}/].to_i) do
  enable_extension "plpgsql"

  ActiveRecord::Migration.suppress_messages do
    migrations.each do |file|
      require file
      File.basename(file, ".rb")[15..].camelize.constantize.new.exec_migration(connection, :up)
    end
  end
end
