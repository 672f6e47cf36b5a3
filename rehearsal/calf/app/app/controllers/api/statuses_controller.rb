# SPDX-License-Identifier: GPL-3.0-or-later
# frozen_string_literal: true

class Api::StatusesController < Api::BaseController
  requires_scope "write:statuses", only: %i[create destroy]

  rescue_from PostLimit::Exceeded do |error|
    response.headers.merge!(@limit.headers)
    render_error(429, error.message)
  end

  def show
    status = Status.rendered.find(params[:id])
    raise ActiveRecord::RecordNotFound unless status.visible_to?(current_account)

    render json: Rest.status(status)
  end

  def create
    already = posted_before
    return render(json: Rest.status(already)) if already

    @limit = PostLimit.new(current_account)
    @limit.take!
    status = PostStatus.call(
      current_account, text: params[:status].to_s, media_ids: Array(params[:media_ids]), visibility: params[:visibility].presence,
      spoiler_text: params[:spoiler_text].to_s, sensitive: ActiveModel::Type::Boolean.new.cast(params[:sensitive]) || false,
      in_reply_to_id: params[:in_reply_to_id], language: params[:language]
    )
    REDIS.set(idempotency_key, status.id, ex: 1.hour.to_i) if idempotency_key
    response.headers.merge!(@limit.headers)
    render json: Rest.status(status)
  end

  def destroy
    status = current_account.statuses.recent.find(params[:id])
    status.update!(deleted_at: Time.current)
    RemovalWorker.perform_async(status.id)
    render json: Rest.status(status).merge(text: status.text)
  end

  private

  def idempotency_key
    key = request.headers["Idempotency-Key"].presence
    key && "idempotency:status:#{current_account.id}:#{key}"
  end

  def posted_before = idempotency_key && Status.find_by(id: REDIS.get(idempotency_key))
end
