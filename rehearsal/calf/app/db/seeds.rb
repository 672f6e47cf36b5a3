# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

{ "Owner" => [1000, 1], "Admin" => [100, 0xfffff], "Moderator" => [10, 0x5dc], "" => [-1, 0x10000] }.each do |name, (position, permissions)|
  UserRole.find_or_create_by!(name: name) { |role| role.assign_attributes(position:, permissions:) }
end

OauthApplication.find_or_create_by!(superapp: true) do |application|
  application.assign_attributes(name: "Web", scopes: "read write follow push", redirect_uri: OauthApplication::OUT_OF_BAND)
end
