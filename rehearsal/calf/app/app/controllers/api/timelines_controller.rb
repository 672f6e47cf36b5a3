# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Api::TimelinesController < Api::BaseController
  requires_scope "read:statuses", only: :home

  def home
    feed = HomeFeed.new(current_account)
    statuses = ApplicationRecord.on_replica { page(Status.recent.rendered.where(id: feed.ids(**range)), maximum: 40).each(&:account) }
    render json: Rest.statuses(statuses)
  end

  def everyone
    scope = Status.recent.rendered.public_visibility
    scope = scope.where(local: true) if params[:local] == "true"
    scope = scope.where(local: false) if params[:remote] == "true"
    scope = scope.where(id: MediaAttachment.where.not(status_id: nil).select(:status_id)) if params[:only_media] == "true"
    render json: Rest.statuses(page(scope))
  end

  def tag
    tagged = Status.where("text ~* ?", "(^|\\s)##{Regexp.escape(params[:tag])}\\M")
    render json: Rest.statuses(page(tagged.recent.rendered.public_visibility))
  end

  private

  def range = { before: params[:max_id]&.to_i, after: (params[:min_id] || params[:since_id])&.to_i }
end
