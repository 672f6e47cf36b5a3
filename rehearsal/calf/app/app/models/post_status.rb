# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

# Writes a status of a local account, and hands the rest to the queues.
class PostStatus
  MEDIA_LIMIT = 4

  def self.call(account, text:, media_ids: [], visibility: nil, **attributes)
    media = account_media(account, media_ids)
    status = Status.transaction do
      account.statuses.create!(text:, visibility: visibility || :public, media_attachments: media, **attributes).tap do |created|
        created.mentioned_accounts = created.named_accounts
      end
    end
    DistributionWorker.perform_async(status.id)
    status
  end

  def self.account_media(account, ids)
    raise ArgumentError, "Validation failed: Cannot attach more than #{MEDIA_LIMIT} files" if ids.size > MEDIA_LIMIT

    media = MediaAttachment.unattached.where(account:, id: ids).to_a
    raise ArgumentError, "Validation failed: Media #{ids.join(", ")} not found or already attached" if media.size < ids.uniq.size

    media
  end
  private_class_method :account_media
end
