# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "thor"

module Calf
  class AccountsCLI < Thor
    def self.exit_on_failure? = true

    desc "create USERNAME", "Make an account and print its password"
    option :email, required: true
    option :confirmed, type: :boolean
    option :approve, type: :boolean
    option :role
    option :reattach, type: :boolean
    option :force, type: :boolean
    def create(username)
      role = find_role(options[:role])
      password = SecureRandom.hex
      account = Account.new(username: username)
      account = Account.find_local_or_remote(username) || account if options[:reattach]
      previous = account.user
      refuse_reattachment(account) if previous && !options[:force]

      user = User.new(email: options[:email], password: password, role: role, approved: options[:approve] || false,
                      confirmed_at: (Time.current if options[:confirmed]), confirmation_token: SecureRandom.hex, account: account)
      save(user, replaced: previous)
      report_password(password)
    end

    desc "modify USERNAME", "Change an account"
    option :email
    option :role
    option :confirm, type: :boolean
    option :approve, type: :boolean
    option :enable, type: :boolean
    option :disable, type: :boolean
    option :reset_password, type: :boolean
    def modify(username)
      user = Account.local.find_local_or_remote(username)&.user || fail_with("No user with such username")
      password = SecureRandom.hex if options[:reset_password]

      user.role = find_role(options[:role]) if options[:role]
      user.email = options[:email] if options[:email]
      user.confirmed_at ||= Time.current if options[:confirm]
      user.approved = true if options[:approve]
      user.disabled = !options[:enable] if options[:enable] || options[:disable]
      user.password = password if password

      save(user)
      user.revoke_access! if password || user.disabled?
      password ? report_password(password) : say("OK", :green)
    end

    private

    def find_role(name)
      name && (UserRole.find_by(name: name) || fail_with("Cannot find user role with that name"))
    end

    def refuse_reattachment(account)
      fail_with("The username #{account.username} has an owner already. Add --force to take it away.")
    end

    def save(user, replaced: nil)
      refuse("" => user, "account." => user.account) unless [user, user.account].map(&:valid?).all?
      User.transaction do
        replaced&.destroy!
        user.account.save!
        user.save!
      end
    end

    def report_password(password)
      say("OK", :green)
      say("New password: #{password}")
    end

    # records: {prefix of the names of attributes => record}
    def refuse(records)
      fail_with(records.flat_map do |prefix, record|
        record.errors.group_by_attribute.map { |name, errors| "Failure/Error: #{prefix}#{name}\n    #{errors.map(&:type).join(", ")}" }
      end.join("\n"))
    end

    def fail_with(reason)
      shell.error(set_color(reason, :red))
      exit 1
    end
  end

  class MediaCLI < Thor
    def self.exit_on_failure? = true

    desc "remove", "Remove local copies of media that other instances keep"
    option :days, type: :numeric, default: 7
    option :dry_run, type: :boolean
    def remove
      media = MediaAttachment.cached.where(created_at: ...options[:days].days.ago)
      bytes = media.sum(:file_file_size)
      count = media.count
      media.find_each { |item| item.delete_file && item.update!(file_file_name: nil) } unless options[:dry_run]
      size = ActiveSupport::NumberHelper.number_to_human_size(bytes)
      say("Removed #{count} media attachments (approx. #{size})#{" (DRY RUN)" if options[:dry_run]}", :green)
    end
  end

  class CLI < Thor
    def self.exit_on_failure? = true

    desc "accounts SUBCOMMAND ...ARGS", "Manage accounts"
    subcommand "accounts", AccountsCLI

    desc "media SUBCOMMAND ...ARGS", "Manage media files"
    subcommand "media", MediaCLI

    desc "version", "Print the version"
    map %w[--version -v] => :version
    def version = say(VERSION)
  end
end
