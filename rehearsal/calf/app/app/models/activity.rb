# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# ActivityPub documents, as JSON text.
module Activity
  PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
  CONTEXT = "https://www.w3.org/ns/activitystreams"

  module_function

  def actor(account)
    uri = account.actor_uri
    {
      "@context": [CONTEXT, "https://w3id.org/security/v1"], id: uri, type: "Person", preferredUsername: account.username,
      name: account.display_name, summary: account.note, url: account.page_url, inbox: "#{uri}/inbox", outbox: "#{uri}/outbox",
      endpoints: { sharedInbox: "#{Calf::Settings.base_url}/inbox" },
      publicKey: { id: "#{uri}#main-key", owner: uri, publicKeyPem: account.public_key }
    }
  end

  def note(status)
    to = status.direct_visibility? ? [] : [status.public_visibility? ? PUBLIC : "#{status.account.actor_uri}/followers"]
    { id: status.actor_uri, type: "Note", attributedTo: status.account.actor_uri, content: Rest.content(status),
      published: status.created_at.iso8601, to: to + status.mentioned_accounts.map(&:actor_uri), cc: [] }
  end

  def create(status)
    note = note(status)
    { "@context": CONTEXT, id: "#{note[:id]}/activity", type: "Create", actor: note[:attributedTo], object: note, to: note[:to] }.to_json
  end

  def accept(account, activity)
    { "@context": CONTEXT, type: "Accept", actor: account.actor_uri, object: activity }.to_json
  end
end
