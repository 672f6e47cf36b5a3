# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "fiddle"

abort "REDIS_NAMESPACE is no longer supported. Remove it; its keys must be renamed first." if ENV.key?("REDIS_NAMESPACE")

encryption = %w[PRIMARY_KEY DETERMINISTIC_KEY KEY_DERIVATION_SALT].to_h { |name| [name, "ACTIVE_RECORD_ENCRYPTION_#{name}"] }
missing = encryption.values.select { |name| ENV[name].blank? }
unless Calf::Settings.building? || missing.empty?
  abort "#{missing.join(", ")} must be set. Make a set of keys once, and keep them: data cannot be read without."
end

Rails.application.configure do
  encryption.each do |name, variable|
    config.active_record.encryption[name.downcase] = ENV[variable].presence || SecureRandom.hex(16)
  end
end

# Pictures are made with libvips; an older one leaks what it should not.
begin
  version = Fiddle::Function.new(Fiddle.dlopen("libvips.so.42")["vips_version"], [Fiddle::TYPE_INT], Fiddle::TYPE_INT)
  found = [0, 1].map { |part| version.call(part) }
  abort "libvips #{found.join(".")} is too old: 8.13 or newer is needed." if (found <=> [8, 13]).negative?
rescue Fiddle::DLError
  abort "libvips is not installed (libvips.so.42): 8.13 or newer is needed."
end
