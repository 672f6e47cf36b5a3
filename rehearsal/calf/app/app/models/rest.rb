# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# The JSON of the API. Ids are strings: clients written in JavaScript would round them.
module Rest
  module_function

  def account(account)
    {
      id: account.id.to_s, username: account.username, acct: account.acct, display_name: account.display_name,
      locked: false, bot: false, created_at: account.created_at.midnight.iso8601(3), note: account.note,
      url: account.page_url, uri: account.actor_uri, avatar: "", avatar_static: "", header: "", header_static: "",
      emojis: [], fields: [], followers_count: 0, following_count: 0, statuses_count: 0
    }
  end

  def status(status)
    {
      id: status.id.to_s, created_at: status.created_at.iso8601(3), in_reply_to_id: status.in_reply_to_id&.to_s,
      sensitive: status.sensitive, spoiler_text: status.spoiler_text, visibility: status.visibility,
      language: status.language, uri: status.actor_uri, url: "#{status.account.page_url}/#{status.id}",
      content: content(status), account: account(status.account),
      media_attachments: status.media_attachments.map { |item| media(item) },
      mentions: [], tags: [], emojis: [], reblog: nil, replies_count: 0, reblogs_count: 0, favourites_count: 0
    }
  end

  def statuses(statuses) = statuses.map { |item| status(item) }
  def content(status) = "<p>#{ERB::Util.html_escape(status.text).gsub("\n", "<br />")}</p>"

  def media(item)
    { id: item.id.to_s, type: item.type, url: item.file_url, preview_url: item.file_url, remote_url: item.remote_url.presence,
      description: item.description, blurhash: nil, meta: {} }
  end

  def notification(notification)
    {
      id: notification.id.to_s, type: notification.type, created_at: notification.created_at.iso8601(3),
      account: account(notification.from_account), status: notification.status && status(notification.status)
    }.compact
  end

  def application(application)
    { id: application.id.to_s, name: application.name, website: application.website, scopes: application.scopes.split,
      redirect_uri: application.redirect_uri, redirect_uris: application.redirect_uris }
  end

  # Version 1 or 2 of the instance's own description. It shows a picture, so it needs built assets.
  def instance(version:)
    settings = Calf::Settings
    thumbnail = settings.base_url + Calf::Packs.path("preview.svg")
    streaming = ENV["STREAMING_API_BASE_URL"].presence || "wss://#{settings.web_domain}"
    limits = {
      statuses: { max_characters: Status::MAX_CHARACTERS, max_media_attachments: PostStatus::MEDIA_LIMIT },
      media_attachments: { supported_mime_types: MediaAttachment::KINDS.keys, image_size_limit: MediaAttachment::IMAGE_LIMIT,
                           video_size_limit: MediaAttachment::VIDEO_LIMIT },
    }
    common = { title: "Calf", version: Calf::VERSION, languages: [I18n.default_locale.to_s], rules: [] }
    return common.merge(uri: settings.local_domain, description: "", email: "", urls: { streaming_api: streaming }, thumbnail:,
                        stats: { user_count: User.count, status_count: Status.count, domain_count: Instance.count },
                        registrations: false, approval_required: false, invites_enabled: false, configuration: limits) if version == 1

    common.merge(domain: settings.local_domain, source_url: "", description: "", usage: { users: { active_month: User.count } },
                 thumbnail: { url: thumbnail }, configuration: limits.merge(urls: { streaming: }),
                 registrations: { enabled: false, approval_required: false, message: nil }, contact: { email: "", account: nil })
  end
end
