# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

require "calf/http_signature"

# Accounts of other instances, as their actor documents describe them.
module RemoteActor
  module_function

  def find_or_fetch(uri)
    Account.remote.find_by(uri:) || refresh(uri)
  end

  def refresh(uri)
    actor = Calf::HttpSignature.get(uri)
    raise Calf::HttpSignature::Invalid, "#{uri} describes #{actor["id"]}" if actor["id"] != uri

    account = Account.find_or_initialize_by(uri:)
    account.update!(
      username: actor["preferredUsername"], domain: URI(uri).host, display_name: actor["name"].to_s, note: actor["summary"].to_s,
      url: actor["url"].presence || uri, inbox_url: actor["inbox"], public_key: actor.dig("publicKey", "publicKeyPem")
    )
    account
  end
end
