# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class InitialSchema < ActiveRecord::Migration[7.2]
  def up
    create_table :accounts do |t|
      t.string :username, null: false
      t.string :domain
      t.string :display_name, :uri, :url, :inbox_url, null: false, default: ""
      t.text :note, :public_key, null: false, default: ""
      t.text :private_key
      t.timestamps
      t.index "lower(username), coalesce(lower(domain), '')", unique: true, name: "index_accounts_on_username_and_domain"
      t.index :uri, where: "uri <> ''", unique: true
      t.index :domain
    end

    create_table :user_roles do |t|
      t.string :name, null: false, default: ""
      t.integer :position, null: false, default: 0
      t.bigint :permissions, null: false, default: 0
      t.timestamps
      t.index :name, unique: true
    end

    create_table :users do |t|
      t.references :account, null: false, foreign_key: { on_delete: :cascade }, index: { unique: true }
      t.references :role, foreign_key: { to_table: :user_roles, on_delete: :nullify }
      t.string :email, null: false, index: { unique: true }
      t.string :encrypted_password, null: false, default: ""
      t.string :confirmation_token, index: { unique: true }
      t.string :otp_secret
      t.datetime :confirmed_at, :current_sign_in_at
      t.boolean :approved, null: false, default: false
      t.boolean :disabled, null: false, default: false
      t.timestamps
    end

    create_table :statuses do |t|
      t.references :account, null: false, foreign_key: { on_delete: :cascade }, index: false
      t.bigint :in_reply_to_id, index: true
      t.text :text, null: false, default: ""
      t.text :spoiler_text, null: false, default: ""
      t.integer :visibility, null: false, default: 0
      t.boolean :sensitive, null: false, default: false
      t.boolean :local, null: false, default: true
      t.string :uri, :language
      t.datetime :deleted_at
      t.timestamps
      t.index %i[account_id id]
      t.index :uri, unique: true, where: "uri IS NOT NULL"
      t.index %i[id account_id], where: "local AND visibility = 0", name: "index_statuses_public"
    end

    create_table :media_attachments do |t|
      t.references :account, foreign_key: { on_delete: :nullify }
      t.references :status, foreign_key: { on_delete: :nullify }
      t.string :file_file_name, :file_content_type
      t.integer :file_file_size
      t.datetime :file_updated_at
      t.integer :type, null: false, default: 0
      t.text :description
      t.string :remote_url, null: false, default: ""
      t.timestamps
    end

    %i[follows blocks].each do |table|
      create_table table do |t|
        t.references :account, null: false, foreign_key: { on_delete: :cascade }, index: false
        t.references :target_account, null: false, foreign_key: { to_table: :accounts, on_delete: :cascade }
        t.timestamps
        t.index %i[account_id target_account_id], unique: true
      end
    end

    create_table :mentions do |t|
      t.references :status, null: false, foreign_key: { on_delete: :cascade }, index: false
      t.references :account, null: false, foreign_key: { on_delete: :cascade }
      t.timestamps
      t.index %i[status_id account_id], unique: true
    end

    create_table :notifications do |t|
      t.references :account, null: false, foreign_key: { on_delete: :cascade }, index: false
      t.references :from_account, null: false, foreign_key: { to_table: :accounts, on_delete: :cascade }
      t.references :status, foreign_key: { on_delete: :cascade }
      t.string :type, null: false
      t.timestamps
      t.index %i[account_id id]
    end

    create_table :ip_blocks do |t|
      t.inet :ip, null: false, default: "0.0.0.0", index: { unique: true }
      t.integer :severity, null: false, default: 0
      t.datetime :expires_at
      t.timestamps
    end

    create_table :fasp_providers do |t|
      t.string :name, :base_url, null: false
      t.boolean :confirmed, null: false, default: false
      t.timestamps
    end

    create_oauth_tables
    execute <<~SQL
      CREATE MATERIALIZED VIEW instances AS
        SELECT domain, count(*) AS accounts_count FROM accounts WHERE domain IS NOT NULL GROUP BY domain;
      CREATE UNIQUE INDEX index_instances_on_domain ON instances (domain);
    SQL
  end

  def down
    raise ActiveRecord::IrreversibleMigration
  end

  private

  def create_oauth_tables
    create_table :oauth_applications do |t|
      t.string :name, :uid, :secret, null: false
      t.text :redirect_uri, null: false
      t.string :scopes, null: false, default: ""
      t.string :website
      t.boolean :superapp, null: false, default: false
      t.timestamps
      t.index :uid, unique: true
    end

    create_table :oauth_access_grants do |t|
      t.string :token, null: false, index: { unique: true }
      t.integer :expires_in, null: false
      t.text :redirect_uri, null: false
      t.string :scopes, :code_challenge, :code_challenge_method
      t.datetime :created_at, null: false
      t.datetime :revoked_at
      t.references :application, null: false, foreign_key: { to_table: :oauth_applications, on_delete: :cascade }
      t.references :resource_owner, null: false, foreign_key: { to_table: :users, on_delete: :cascade }
    end

    create_table :oauth_access_tokens do |t|
      t.string :token, null: false, index: { unique: true }
      t.string :refresh_token, index: { unique: true }
      t.integer :expires_in
      t.datetime :revoked_at, :last_used_at
      t.datetime :created_at, null: false
      t.string :scopes
      t.references :application, foreign_key: { to_table: :oauth_applications, on_delete: :cascade }
      t.references :resource_owner, foreign_key: { to_table: :users, on_delete: :cascade }
    end
  end
end
